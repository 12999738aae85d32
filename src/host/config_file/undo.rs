//! Taking changes back: the record of what was done, and how to undo it when
//! the file is as it was left, and when somebody has edited it since.

use serde::{Deserialize, Serialize};

use super::{Changed, ConfigKey, ConfigText, Item, Malformed, Wish, is_equal};

/// What was done to one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// Which one.
    pub key: ConfigKey,
    /// The value that was set.
    pub value: String,
    /// Who wanted it, in one word.
    pub source: String,
    /// What was done.
    pub how: How,
}

/// What was done to the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum How {
    /// The value of an entry that was there.
    Replaced {
        /// What was there, from behind the name to the end of the value.
        #[serde(with = "base64_bytes")]
        old: Vec<u8>,
        /// What is there now.
        #[serde(with = "base64_bytes")]
        new: Vec<u8>,
    },
    /// A line in the block at the end.
    Added {
        /// How many sections of that name there were before.
        headers_before: usize,
    },
}

/// What was done to one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// 1.
    pub version: u32,
    /// The file, absolute.
    pub file: String,
    /// Whether the file was made.
    pub created: bool,
    /// What was done to its entries.
    pub edits: Vec<Edit>,
    /// What was put before the block.
    #[serde(with = "base64_bytes")]
    pub joint: Vec<u8>,
    /// The block that was put at the end.
    #[serde(with = "base64_bytes")]
    pub block: Vec<u8>,
    /// Files of ours that were written: name and SHA-256.
    #[serde(default)]
    pub installed: Vec<(String, String)>,
    /// What an earlier run had done, while it is not certain that this one came
    /// to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Record>>,
}

impl Record {
    /// The record of a change.
    #[must_use]
    pub fn of(file: String, created: bool, changed: &Changed) -> Self {
        Self {
            version: 1,
            file,
            created,
            edits: changed.edits.clone(),
            joint: changed.joint.clone(),
            block: changed.block.clone(),
            installed: Vec::new(),
            before: None,
        }
    }

    /// What was wished, for doing it again on top of something else.
    pub fn wishes(&self) -> impl Iterator<Item = Wish> {
        self.edits.iter().map(|edit| Wish {
            key: edit.key.clone(),
            value: edit.value.clone(),
            source: edit.source.clone(),
        })
    }
}

/// An entry that was not taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Which one.
    pub key: ConfigKey,
    /// The value that is there now, if there is one.
    pub now: Option<String>,
}

/// The text without the changes.
#[derive(Debug, Clone)]
pub struct Undone {
    /// The content.
    pub bytes: Vec<u8>,
    /// What somebody has changed since: it stays.
    pub left: Vec<Left>,
    /// Entries that were taken back.
    pub taken_back: Vec<ConfigKey>,
}

/// Takes back what the record says, and nothing else.
///
/// # Errors
/// The file is not git's configuration any more.
pub fn undo(bytes: &[u8], record: &Record) -> Result<Undone, Malformed> {
    let mut out = bytes.to_vec();
    let mut left = Vec::new();
    let mut taken_back = Vec::new();
    let whole = cut_block(&mut out, record)?;
    for edit in record.edits.iter().rev() {
        let done = match &edit.how {
            How::Added { .. } if whole => true,
            How::Added { headers_before } => {
                let removed = remove_line(&mut out, edit)?;
                if removed {
                    remove_empty_header(&mut out, &edit.key, *headers_before)?;
                }
                removed
            }
            How::Replaced { old, new } => put_back(&mut out, &edit.key, old, new)?,
        };
        if done {
            taken_back.push(edit.key.clone());
        } else {
            let text = ConfigText::parse(&out)?;
            left.push(Left {
                key: edit.key.clone(),
                now: text.last(&edit.key).map(|value| {
                    value.map_or_else(
                        || "true".to_owned(),
                        |value| String::from_utf8_lossy(value).into_owned(),
                    )
                }),
            });
        }
    }
    if let Some(before) = &record.before {
        let more = undo(&out, before)?;
        out = more.bytes;
        left.retain(|left| !more.taken_back.contains(&left.key));
        taken_back.extend(more.taken_back);
    }
    Ok(Undone {
        bytes: out,
        left,
        taken_back,
    })
}

/// Cuts the block out as a whole, if it is there once and nothing that was
/// added since belongs to its last section.
fn cut_block(out: &mut Vec<u8>, record: &Record) -> Result<bool, Malformed> {
    if record.block.is_empty() {
        return Ok(false);
    }
    let mut places = out
        .windows(record.block.len())
        .enumerate()
        .filter(|(_, window)| *window == record.block)
        .map(|(at, _)| at);
    let (Some(at), None) = (places.next(), places.next()) else {
        return Ok(false);
    };
    let end = at.saturating_add(record.block.len());
    let text = ConfigText::parse(out)?;
    let follows = text.items.iter().find(|item| match item {
        Item::Header(header) => header.line.start >= end,
        Item::Entry(entry) => entry.lines.start >= end,
        Item::Comment(_) => false,
    });
    if matches!(follows, Some(Item::Entry(_))) {
        return Ok(false);
    }
    // The line end before it was ours, but where lines follow it is needed.
    let joint = record.joint.len();
    let start = match at.checked_sub(joint) {
        Some(start)
            if end == out.len()
                && out
                    .get(start..at)
                    .is_some_and(|before| before == record.joint) =>
        {
            start
        }
        _ => at,
    };
    out.drain(start..end);
    Ok(true)
}

/// Removes the last line that sets this key to our value.
fn remove_line(out: &mut Vec<u8>, edit: &Edit) -> Result<bool, Malformed> {
    let text = ConfigText::parse(out)?;
    let lines = text
        .entries()
        .rev()
        .find(|entry| {
            entry.own_line
                && entry.key.same(&edit.key)
                && is_equal(entry.value.as_deref(), &edit.value)
        })
        .map(|entry| entry.lines.clone());
    Ok(match lines {
        Some(lines) => {
            out.drain(lines);
            true
        }
        None => false,
    })
}

/// Removes the last section of this name, if nothing is in it and there are
/// more of them than there were.
fn remove_empty_header(out: &mut Vec<u8>, key: &ConfigKey, before: usize) -> Result<(), Malformed> {
    let text = ConfigText::parse(out)?;
    if text.headers_of(key) <= before {
        return Ok(());
    }
    let mut empty = None;
    for (place, item) in text.items.iter().enumerate() {
        if let Item::Header(header) = item
            && header.is_of(key)
            && header.alone
            && matches!(
                text.items.get(place.saturating_add(1)),
                None | Some(Item::Header(_))
            )
        {
            empty = Some(header.line.clone());
        }
    }
    if let Some(line) = empty {
        out.drain(line);
    }
    Ok(())
}

/// Gives the last entry that has our bytes its old ones.
fn put_back(out: &mut Vec<u8>, key: &ConfigKey, old: &[u8], new: &[u8]) -> Result<bool, Malformed> {
    let text = ConfigText::parse(out)?;
    let raw = text
        .entries()
        .rev()
        .find(|entry| {
            entry.key.same(key) && out.get(entry.raw.clone()).is_some_and(|raw| raw == new)
        })
        .map(|entry| entry.raw.clone());
    Ok(match raw {
        Some(raw) => {
            out.splice(raw, old.iter().copied());
            true
        }
        None => false,
    })
}

/// Bytes in JSON.
mod base64_bytes {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map_err(D::Error::custom)
    }
}
