//! Parses the values of a policy: strings, lists, times, patterns and conditions.

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
    value::Datetime,
};

use super::{
    AGES, CONDITION_KEYS, MAX_GLOBS, MAX_LIST, MAX_PATTERN_SIZE, MAX_PATTERNS, MAX_TEXT, Parser,
    Span, Text, Value, did_you_mean, removed::Removed, strings,
};
use crate::{facts::EnforcementMode, glob::Globs, model::Condition};
use gitseal_evidence::{UnixTime, certificate::CLAIM_OIDS, identity::Pattern};

impl<'i> Parser<'i> {
    pub(super) fn check_keys(
        &mut self,
        table: &DeTable<'i>,
        known: &[&str],
        removed: Removed,
        what: &str,
    ) {
        for key in table
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
        {
            let name = key.get_ref().as_ref();
            let (span, message) = (key.span(), format!("{what} has no key {name:?}"));
            if let Some((_, instead)) = removed.iter().find(|(key, _)| *key == name) {
                self.error(&span, "key-removed", message, instead);
                continue;
            }
            let hint = did_you_mean(name, known)
                .unwrap_or_else(|| format!("its keys are {}", known.join(", ")));
            self.error(&span, "key-unknown", message, &hint);
        }
    }

    /// Removes a key and deserializes its value.
    pub(super) fn take<T: Deserialize<'i>>(
        &mut self,
        table: &mut DeTable<'i>,
        key: &str,
    ) -> Option<Spanned<T>> {
        let value = table.remove(key)?;
        let span = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(Spanned::new(span, value)),
            Err(error) => {
                let message = format!("{key}: {}", error.message());
                self.error(&error.span().unwrap_or(span), "kind", message, "");
                None
            }
        }
    }

    pub(super) fn table(
        &mut self,
        value: Value<'i>,
        key: &str,
        most: usize,
    ) -> Option<DeTable<'i>> {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            self.error(&span, "kind", format!("{key}: expected a table"), "");
            return None;
        };
        (!self.is_too_many(&span, key, table.len(), most)).then_some(table)
    }

    /// Removes a key whose value is a table of tables.
    pub(super) fn named_tables(
        &mut self,
        table: &mut DeTable<'i>,
        key: &str,
        most: usize,
    ) -> Vec<(Text, DeTable<'i>)> {
        let entries = table
            .remove(key)
            .and_then(|value| self.table(value, key, most));
        let entries = entries.unwrap_or_default().into_iter();
        entries
            .filter_map(|(name, value)| {
                let table = self.table(value, &format!("{key}.{}", name.get_ref()), usize::MAX)?;
                Some((
                    Spanned::new(name.span(), name.into_inner().into_owned()),
                    table,
                ))
            })
            .collect()
    }

    pub(super) fn mode(&mut self, table: &mut DeTable<'i>) -> Option<EnforcementMode> {
        let mode = self.text(table, "mode")?;
        match mode.get_ref().as_str() {
            "enforce" => Some(EnforcementMode::Enforce),
            "warn" => Some(EnforcementMode::Warn),
            other => {
                let message = format!("{other:?} is not a mode");
                self.error(&mode.span(), "mode", message, "enforce or warn");
                None
            }
        }
    }

    pub(super) fn condition(&mut self, value: Value<'i>, key: &'static str) -> Option<Condition> {
        let span = value.span();
        let compiled = match value.into_inner() {
            DeValue::String(text) => {
                let text = self.check_text(Spanned::new(span.clone(), text.into_owned()), key)?;
                Pattern::exact("text", text.get_ref())
            }
            DeValue::Table(mut table) if table.contains_key("pattern") => {
                self.check_keys(&table, &CONDITION_KEYS, &[], key);
                let text = self.text(&mut table, "pattern")?;
                self.patterns = self.patterns.saturating_add(1);
                if self.is_too_many(&text.span(), "patterns", self.patterns, MAX_PATTERNS) {
                    return None;
                }
                Pattern::matching_within(key, text.get_ref(), MAX_PATTERN_SIZE)
            }
            other => {
                if let DeValue::Table(table) = &other {
                    self.check_keys(table, &CONDITION_KEYS, &[], key);
                }
                let message = format!("{key}: expected a string, or {{ pattern = '…' }}");
                self.error(&span, "kind", message, "");
                return None;
            }
        };
        match compiled {
            Ok(pattern) => Some(Condition(pattern)),
            Err(error) => {
                self.error(&span, error.code(), error.to_string(), "");
                None
            }
        }
    }

    pub(super) fn claims(&mut self, table: &mut DeTable<'i>) -> Vec<(String, Condition)> {
        let mut found = Vec::new();
        let Some(value) = table.remove("claims") else {
            return found;
        };
        let span = value.span();
        let Some(entries) = self.table(value, "claims", usize::MAX) else {
            return found;
        };
        if entries.is_empty() {
            self.error(&span, "empty-list", "claims is empty", "");
        }
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            if CLAIM_OIDS.iter().any(|claim| claim.name == name) {
                let condition = self.condition(value, "claim");
                found.extend(condition.map(|condition| (name.to_owned(), condition)));
            } else {
                let hint = did_you_mean(name, CLAIM_OIDS.iter().map(|claim| claim.name));
                let message = format!("Fulcio certifies no claim {name:?}");
                self.error(
                    &key.span(),
                    "claim-unknown",
                    message,
                    &hint.unwrap_or_default(),
                );
            }
        }
        found
    }

    pub(super) fn globs(&mut self, table: &mut DeTable<'i>, key: &'static str) -> Option<Globs> {
        let span = table.get(key)?.span();
        let texts = self
            .list(table, key, MAX_LIST)
            .filter(|texts| !texts.is_empty())?;
        self.globs = self.globs.saturating_add(texts.len());
        if self.is_too_many(&span, "patterns of refs and paths", self.globs, MAX_GLOBS) {
            return None;
        }
        let is_paths = key == "paths";
        for text in &texts {
            let bare = text.get_ref();
            let bare = bare.strip_prefix('!').unwrap_or(bare);
            let (is_wrong, hint) = if is_paths {
                (
                    bare.starts_with('/') || bare.starts_with("./") || bare.ends_with('/'),
                    "paths begin at the root of the tree, without a slash: docs/** matches all of docs",
                )
            } else {
                (
                    !bare.starts_with("refs/") && bare != "**" || bare.ends_with('/'),
                    "write refs in full: refs/heads/main, refs/heads/**, refs/tags/v*",
                )
            };
            if is_wrong {
                let message = format!("{:?} never matches", text.get_ref());
                self.error(&text.span(), "nobody-can", message, hint);
            }
        }
        let spans: Vec<Span> = texts.iter().map(Spanned::span).collect();
        let patterns = strings(Some(texts));
        let compiled = if is_paths {
            Globs::paths(&patterns)
        } else {
            Globs::refs(&patterns)
        };
        match compiled {
            Ok(globs) => Some(globs),
            Err(error) => {
                let at = spans.get(error.index);
                let hint = at.map_or("begin the list with \"**\"", |_| "");
                self.error(at.unwrap_or(&span), "glob", error.reason, hint);
                None
            }
        }
    }

    /// Removes a key whose value is a list of strings. An empty list is an error.
    pub(super) fn list(
        &mut self,
        table: &mut DeTable<'i>,
        key: &str,
        most: usize,
    ) -> Option<Vec<Text>> {
        let list = self.take::<Vec<Text>>(table, key)?;
        let span = list.span();
        let list = list.into_inner();
        if list.is_empty() {
            let hint = "leave it out, or write [\"nobody\"] where a rule lists who may";
            self.error(&span, "empty-list", format!("{key} is empty"), hint);
        }
        if self.is_too_many(&span, key, list.len(), most) {
            return None;
        }
        Some(
            list.into_iter()
                .filter_map(|text| self.check_text(text, key))
                .collect(),
        )
    }

    pub(super) fn text(&mut self, table: &mut DeTable<'i>, key: &str) -> Option<Text> {
        let text = self.take(table, key)?;
        self.check_text(text, key)
    }

    fn check_text(&mut self, text: Text, key: &str) -> Option<Text> {
        let length = text.get_ref().len();
        if length == 0 {
            self.error(
                &text.span(),
                "empty-text",
                format!("{key}: empty string"),
                "",
            );
        } else if length > MAX_TEXT {
            let message = format!("{key}: the string is {length} bytes; the limit is {MAX_TEXT}");
            self.error(&text.span(), "text-too-long", message, "");
        } else {
            return Some(text);
        }
        None
    }

    /// Removes a key whose value is a line of at most `most` characters.
    pub(super) fn short(
        &mut self,
        table: &mut DeTable<'i>,
        key: &str,
        most: usize,
    ) -> Option<String> {
        let text = self.text(table, key)?;
        let mut characters = text.get_ref().chars();
        if characters.clone().count() > most || characters.any(char::is_control) {
            let message = format!("{key} is one line of at most {most} characters");
            self.error(&text.span(), "line", message, "");
        }
        Some(text.into_inner())
    }

    /// Removes `max-age`, a number of hours, days or weeks, and returns it in seconds.
    pub(super) fn age(&mut self, table: &mut DeTable<'i>) -> Option<i64> {
        let text = self.text(table, "max-age")?;
        let seconds = age_of(text.get_ref());
        if seconds.is_none() {
            let message = format!("max-age: {:?} is not an age", text.get_ref());
            let hint = "write a number and h, d or w, from \"1h\" to \"3650d\": \"30d\"";
            self.error(&text.span(), "age", message, hint);
        }
        seconds
    }

    pub(super) fn flag(&mut self, table: &mut DeTable<'i>, key: &str) -> bool {
        self.take(table, key).is_some_and(Spanned::into_inner)
    }

    pub(super) fn time(&mut self, table: &mut DeTable<'i>, key: &str) -> Option<UnixTime> {
        let value = self.take::<Datetime>(table, key)?;
        let time = value.get_ref();
        let is_whole = time.date.is_some() && time.offset.is_some();
        let parsed = time.to_string().parse::<jiff::Timestamp>().ok();
        let parsed = parsed.filter(|_| is_whole);
        if parsed.is_none() {
            let message = format!("{key}: expected a time with its zone: 2026-01-31T00:00:00Z");
            self.error(&value.span(), "kind", message, "");
        }
        parsed.map(jiff::Timestamp::as_second)
    }

    pub(super) fn is_too_many(&mut self, at: &Span, what: &str, count: usize, most: usize) -> bool {
        let is = count > most;
        if is {
            let message = format!("{count} {what}; the limit is {most}");
            self.error(at, "too-many", message, "");
        }
        is
    }
}

/// Returns an age in seconds, if it is one within the limits.
fn age_of(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    let number: i64 = digits.parse().ok().filter(|_| is_number)?;
    number.checked_mul(unit).filter(|age| AGES.contains(age))
}
