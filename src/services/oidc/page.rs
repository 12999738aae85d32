//! The pages that a person sees in the browser: one style for all of them, in
//! light and dark, complete in itself, and without script.
//!
//! Every text goes through [`escape`]. A page is served with [`Page::policy`],
//! which allows its own style (and script, where it closes itself) by digest
//! and nothing else: no picture, no frame, no other origin.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--ink:#1c2430;--soft:#5b6675;--line:#dde1e7;--good:#13795b;--bad:#b3261e;--key:#2457d6}\
@media(prefers-color-scheme:dark){:root{--back:#12161c;--card:#1b2129;--ink:#e8ecf1;--soft:#9aa6b5;--line:#303945;--good:#4cc79a;--bad:#ff8a80;--key:#8ab0ff}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.5rem;background:var(--back);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\
main{width:100%;max-width:31rem;background:var(--card);border:1px solid var(--line);border-radius:14px;padding:2rem 2.2rem;box-shadow:0 8px 30px rgba(0,0,0,.06)}\
.brand{margin:0 0 1.4rem;color:var(--soft);font-size:.85rem;letter-spacing:.04em}\
.mark{display:inline-flex;width:2.6rem;height:2.6rem;border-radius:50%;align-items:center;justify-content:center;color:#fff;font-size:1.35rem;line-height:1;margin-bottom:.9rem}\
.good .mark{background:var(--good)}.bad .mark{background:var(--bad)}.ask .mark{background:var(--key)}\
.good .mark,.bad .mark,.ask .mark{color:var(--card)}\
h1{font-size:1.45rem;line-height:1.25;margin:0 0 .7rem}\
p{margin:.7rem 0}.soft{color:var(--soft);font-size:.92rem}\
dl{margin:1.1rem 0;padding:1rem 1.1rem;border:1px solid var(--line);border-radius:10px}\
dt{color:var(--soft);font-size:.8rem}dd{margin:0 0 .7rem;font-weight:600;overflow-wrap:anywhere}dd:last-child{margin-bottom:0}\
code{display:block;padding:.8rem 1rem;border:1px solid var(--line);border-radius:10px;font:600 1rem ui-monospace,SFMono-Regular,Menlo,monospace;overflow-wrap:anywhere;user-select:all}\
label.choice{display:flex;gap:.7rem;align-items:center;padding:.7rem .9rem;margin:.5rem 0;border:1px solid var(--line);border-radius:10px;cursor:pointer;overflow-wrap:anywhere}\
label.choice:has(input:checked){border-color:var(--key);box-shadow:inset 0 0 0 1px var(--key)}\
input[type=text]{width:100%;padding:.65rem .8rem;margin-top:.3rem;border:1px solid var(--line);border-radius:10px;background:var(--back);color:var(--ink);font:600 1.1rem ui-monospace,monospace;letter-spacing:.08em}\
.row{display:flex;gap:.7rem;margin-top:1.3rem}\
button{flex:1;padding:.7rem 1rem;border:1px solid var(--line);border-radius:10px;background:transparent;color:var(--ink);font:inherit;font-weight:600;cursor:pointer}\
button.main{background:var(--key);border-color:var(--key);color:var(--card)}\
button:focus-visible,input:focus-visible{outline:3px solid var(--key);outline-offset:2px}";

/// What kind of news a page brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It worked.
    Good,
    /// It did not.
    Bad,
    /// A question.
    Ask,
}

/// A page in the making.
#[derive(Debug, Clone)]
pub struct Page {
    tone: Tone,
    brand: &'static str,
    title: String,
    body: String,
    script: Option<String>,
}

impl Page {
    /// A page with a title. `brand` says whose page it is.
    #[must_use]
    pub fn new(tone: Tone, brand: &'static str, title: &str) -> Self {
        Self {
            tone,
            brand,
            title: escape(title),
            body: String::new(),
            script: None,
        }
    }

    /// A paragraph of text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        let text = escape(text);
        self.html(&format!("<p>{text}</p>"))
    }

    /// A less important paragraph.
    #[must_use]
    pub fn soft(self, text: &str) -> Self {
        let text = escape(text);
        self.html(&format!("<p class=\"soft\">{text}</p>"))
    }

    /// Names and values.
    #[must_use]
    pub fn facts(self, facts: &[(&str, &str)]) -> Self {
        let mut html = String::from("<dl>");
        for (name, value) in facts {
            let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
        }
        html.push_str("</dl>");
        self.html(&html)
    }

    /// HTML as it is: every foreign text in it has gone through [`escape`].
    #[must_use]
    pub fn html(mut self, html: &str) -> Self {
        self.body.push_str(html);
        self
    }

    /// Closes itself after some seconds, where the browser lets it.
    #[must_use]
    pub fn closing_after(mut self, seconds: u64) -> Self {
        let milliseconds = seconds.saturating_mul(1000);
        self.script = Some(format!(
            "setTimeout(function(){{window.close()}},{milliseconds})"
        ));
        self
    }

    /// The value of `Content-Security-Policy` for it. `form_action` is where its
    /// forms may lead: CSP sources, or `'none'`.
    #[must_use]
    pub fn policy(&self, form_action: &str) -> String {
        let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        let mut policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'; \
             base-uri 'none'; form-action {form_action}",
            digest(STYLE)
        );
        if let Some(script) = &self.script {
            let _ = write!(policy, "; script-src 'sha256-{}'", digest(script));
        }
        policy
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> String {
        let (class, mark) = match self.tone {
            Tone::Good => ("good", "&#10003;"),
            Tone::Bad => ("bad", "!"),
            Tone::Ask => ("ask", "?"),
        };
        let script = self
            .script
            .as_ref()
            .map_or_else(String::new, |script| format!("<script>{script}</script>"));
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\"><link rel=\"icon\" href=\"data:,\">\
             <title>{title} · {brand}</title><style>{STYLE}</style></head>\
             <body><main class=\"{class}\"><p class=\"brand\">{brand}</p>\
             <div class=\"mark\" aria-hidden=\"true\">{mark}</div><h1>{title}</h1>{body}</main>{script}\
             </body></html>\n",
            title = self.title,
            brand = self.brand,
            body = self.body,
        )
    }
}

/// The five characters that mean something in HTML; controls and what changes
/// the direction of text become a replacement character.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push('\u{fffd}');
            }
            letter if letter.is_control() && !letter.is_whitespace() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        let page = Page::new(Tone::Bad, "gitseal", "<b>\"no\"</b>")
            .text("<script>alert('1')</script>&\u{202e}x\u{1b}")
            .facts(&[("<dt>", "\"'>")]);
        let html = page.document();
        assert!(
            html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;\u{fffd}x\u{fffd}")
        );
        assert!(html.contains("&lt;b&gt;&quot;no&quot;&lt;/b&gt;"));
        assert!(html.contains("<dt>&lt;dt&gt;</dt><dd>&quot;&#39;&gt;</dd>"));
        assert!(!html.contains("<script"));
        assert!(!page.policy("'none'").contains("script-src"));
        for outside in ["http://", "https://", "url(", "@import", "src="] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_script_is_allowed_by_its_digest_alone() {
        let page = Page::new(Tone::Good, "gitseal", "x").closing_after(6);
        assert!(page.document().contains("window.close()},6000)"));
        let policy = page.policy("'none'");
        assert!(policy.contains("script-src 'sha256-") && !policy.contains("unsafe"));
    }
}
