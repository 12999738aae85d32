//! The pages that a person sees in the browser: one plain style, no script but
//! the one that closes the page, nothing loaded from anywhere.

use std::fmt::Write as _;

/// The outcome that a page reports, which decides its color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOutcome {
    /// The operation succeeded.
    Good,
    /// The operation failed.
    Bad,
    /// The page contains a form.
    Asking,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2530;--paper:#f4f6f8;--card:#fff;--line:#d9dee5;--quiet:#5b6675;--good:#1a7f4b;--bad:#b3261e;--ask:#2457a8}\
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--paper:#14181d;--card:#1d232b;--line:#323b47;--quiet:#9aa6b5;--good:#4cc38a;--bad:#f2857d;--ask:#82aef5}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
main{width:min(34rem,calc(100vw - 2rem));margin:1rem;padding:2rem 2.25rem;background:var(--card);border:1px solid var(--line);border-top:4px solid var(--tone);border-radius:10px}\
h1{margin:0 0 1rem;font-size:1.35rem;line-height:1.3;color:var(--tone)}\
p{margin:.6rem 0}\
dl{margin:1rem 0;display:grid;grid-template-columns:auto 1fr;gap:.3rem 1rem}\
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere;font-weight:600}\
code{display:inline-block;padding:.15rem .5rem;border:1px solid var(--line);border-radius:5px;font:1.1rem ui-monospace,Consolas,monospace;overflow-wrap:anywhere}\
label{display:block;padding:.35rem 0}\
input:not([type=radio]){font:inherit;padding:.4rem .6rem;border:1px solid var(--line);border-radius:6px;background:transparent;color:inherit}\
button{font:inherit;padding:.5rem 1.1rem;margin:.6rem .5rem 0 0;border:1px solid var(--tone);border-radius:6px;background:var(--tone);color:var(--card);cursor:pointer}\
button[name=deny]{background:transparent;color:var(--ink);border-color:var(--line)}\
small{color:var(--quiet)}\
.good{--tone:var(--good)}.bad{--tone:var(--bad)}.asking{--tone:var(--ask)}";

/// Returns a complete page. `body` is HTML: whatever is foreign in it has gone
/// through [`escape_html`].
#[must_use]
pub fn page(mood: PageOutcome, title: &str, body: &str, script: Option<&Script>) -> String {
    let class = match mood {
        PageOutcome::Good => "good",
        PageOutcome::Bad => "bad",
        PageOutcome::Asking => "asking",
    };
    let title = escape_html(title);
    let script = script.map_or_else(String::new, |script| {
        format!(
            "<script nonce=\"{}\">setTimeout(function(){{window.close()}},{})</script>",
            script.nonce,
            u64::from(script.seconds).saturating_mul(1000)
        )
    });
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title} - gitseal</title><style>{STYLE}</style></head>\
         <body><main class=\"{class}\"><h1>{title}</h1>{body}</main>{script}</body></html>\n"
    )
}

/// The one script there is: it closes the page after a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The nonce that the content security policy names: letters and digits.
    pub nonce: String,
    /// After how many seconds.
    pub seconds: u32,
}

/// The policy that goes with a page (`Content-Security-Policy`): nothing is
/// loaded, framed or sent, but forms to `form_action`.
#[must_use]
pub fn content_security_policy(script: Option<&Script>, form_action: &str) -> String {
    let mut policy = format!(
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; form-action {form_action}"
    );
    if let Some(script) = script {
        let _ = write!(policy, "; script-src 'nonce-{}'", script.nonce);
    }
    policy
}

/// Text as HTML, in elements and in attribute values in quotes.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // What changes direction or has no width could fake another text.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            _ if character.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn k4_foreign_text_is_text() {
        assert_eq!(
            escape_html("<script>\"'&\u{202e}\n"),
            "&lt;script&gt;&quot;&#39;&amp;\\u{202e}\\u{a}"
        );
        let page = page(
            PageOutcome::Bad,
            "<b>",
            &escape_html("</main><img src=x>"),
            None,
        );
        assert!(!page.contains("<b>") && !page.contains("<img"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }

    #[test]
    fn nothing_is_loaded_and_the_script_is_ours() {
        let script = Script {
            nonce: "abc".into(),
            seconds: 6,
        };
        let text = page(PageOutcome::Good, "Done", "", Some(&script));
        assert!(text.contains("<script nonce=\"abc\">setTimeout(function(){window.close()},6000)"));
        assert!(!text.contains("http"), "{text}");
        let policy = content_security_policy(Some(&script), "'none'");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.ends_with("script-src 'nonce-abc'"), "{policy}");
    }
}
