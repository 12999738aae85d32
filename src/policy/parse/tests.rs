#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use gitseal_evidence::certificate::CLAIM_OIDS;

const HEAD: &str = "version = 2\n[signers]\na = { issuer = \"https://i.example\", identity = \"a@example.com\" }\nb = { issuer = \"https://i.example\", identity = \"b@example.com\" }\n";
const HEAD_REST: &str =
    "[signers]\na = { issuer = \"https://i.example\", identity = \"a@example.com\" }\n";
const RULE: &str = "[[rules]]\nname = \"r\"\ncommit = [\"a\"]\n";

fn errors(text: &str) -> Vec<PolicyError> {
    match Policy::parse(text, "p.toml") {
        Ok(_) => Vec::new(),
        Err(errors) => errors.errors,
    }
}

/// The codes of the mistakes in a rule beside two good signers.
fn rule(text: &str) -> Vec<&'static str> {
    errors(&format!("{HEAD}[[rules]]\nname = \"r\"\n{text}\n"))
        .into_iter()
        .map(|error| error.code)
        .collect()
}

fn whole(text: &str) -> Vec<&'static str> {
    errors(text).into_iter().map(|error| error.code).collect()
}

/// A policy that is good but for one more line of its only signer.
fn signer(line: &str) -> Vec<&'static str> {
    let head = "version = 2\n[signers.a]\nissuer = \"https://i.example\"\nidentity = \"a\"\n";
    whole(&format!("{head}{line}\n{RULE}"))
}

#[test]
fn the_smallest_policy() {
    assert!(rule("commit = [\"a\"]").is_empty());
    assert!(signer("").is_empty());
}

/// Checks the codes of the errors in rules beside two good signers.
fn rules(expected: &[(&str, &[&str])]) {
    for (text, codes) in expected {
        assert_eq!(rule(text), *codes, "{text}");
    }
}

/// I6: nothing that is empty or half means anybody.
#[test]
fn nothing_empty_means_anybody() {
    assert_eq!(whole(""), ["version-missing"]);
    assert_eq!(whole("version = 2"), ["policy-empty", "policy-empty"]);
    assert_eq!(whole("version = 3"), ["version-unknown"]);
    assert_eq!(whole("version = \"2\""), ["kind", "version-unknown"]);
    assert_eq!(whole(HEAD), ["policy-empty"]);
    assert_eq!(whole(&format!("rules = []\n{HEAD}")), ["policy-empty"]);
    for (body, code) in [
        ("identity = \"a\"", "identity-without-issuer"),
        ("issuer = \"i\"", "issuer-without-identity"),
        ("issuer = \"i\"\nidentity = \"\"", "empty-text"),
        ("issuer = \"\"\nidentity = \"a\"", "empty-text"),
        (
            "issuer = \"i\"\nidentity = { pattern = \"\" }",
            "empty-text",
        ),
        ("issuer = \"i\"\nidentity = {}", "kind"),
        ("issuer = \"i\"\nidentity = [\"a\"]", "kind"),
    ] {
        let text = format!("version = 2\n[signers.a]\n{body}\n{RULE}");
        assert_eq!(whole(&text), [code], "{body}");
    }
    for (line, code) in [
        ("claims = {}", "empty-list"),
        ("claims = { subject = \"\" }", "empty-text"),
        ("emails = []", "empty-list"),
    ] {
        assert_eq!(signer(line), [code], "{line}");
    }
    rules(&[
        ("commit = []", &["empty-list"]),
        ("refs = []\ncommit = [\"a\"]", &["empty-list"]),
        ("paths = [\"\"]\ncommit = [\"a\"]", &["empty-text"]),
        ("", &["rule-empty"]),
    ]);
    let group = "[groups]\ng = []\n[[rules]]\nname = \"r\"\ncommit = [\"g\"]\n";
    assert_eq!(whole(&format!("{HEAD}{group}")), ["empty-list"]);
}

#[test]
fn anyone_adopts_nothing_and_changes_no_policy() {
    for key in ["adopt", "policy"] {
        assert_eq!(rule(&format!("{key} = [\"anyone\"]")), ["anyone"], "{key}");
    }
    for key in [
        "create", "update", "rewrite", "delete", "tag", "commit", "merge",
    ] {
        assert!(rule(&format!("{key} = [\"anyone\"]")).is_empty(), "{key}");
    }
    rules(&[
        ("create = [\"anyone\", \"a\"]", &["word-alone"]),
        ("create = [\"a\", \"nobody\"]", &["word-alone"]),
        ("commit = [\"a\"]\ndirect = [\"anyone\"]", &["anyone"]),
    ]);
    let group = "[groups]\ng = [\"anyone\"]\n[[rules]]\nname = \"r\"\ncreate = [\"g\"]\n";
    assert_eq!(whole(&format!("{HEAD}{group}")), ["anyone"]);
}

/// I6: a rule that nobody can satisfy.
#[test]
fn rules_that_nobody_can_satisfy() {
    let threshold = |of: &str| format!("commit = [\"a\"]\nthreshold = {{ {of} }}");
    rules(&[
        ("commit = [\"c\"]", &["name-unknown"]),
        (
            "commit = [\"a\", \"b\"]\nthreshold = { count = 3, of = [\"a\", \"b\"] }",
            &["nobody-can"],
        ),
        (
            &threshold("count = 2, of = [\"a\", \"b\"]"),
            &["nobody-can"],
        ),
        (
            "commit = [\"a\", \"b\"]\nthreshold = { count = 2, of = [\"a\", \"b\"] }",
            &[],
        ),
        (&threshold("count = 0, of = [\"a\"]"), &["threshold"]),
        (&threshold("count = 9, of = [\"a\"]"), &["threshold"]),
        (&threshold("count = 1"), &["threshold"]),
        ("refs = [\"main\"]\ncommit = [\"a\"]", &["nobody-can"]),
        ("paths = [\"/src/**\"]\ncommit = [\"a\"]", &["nobody-can"]),
        ("paths = [\"docs/\"]\ncommit = [\"a\"]", &["nobody-can"]),
        ("paths = [\"!docs/**\"]\ncommit = [\"a\"]", &["glob"]),
    ]);
    let valid = |until: &str| {
        signer(&format!(
            "valid-from = 2026-01-02T00:00:00Z\nvalid-until = 2026-01-02T00:00:0{until}Z"
        ))
    };
    assert_eq!(valid("0"), ["nobody-can"]);
    assert!(valid("1").is_empty());
    assert_eq!(
        whole(&format!("{HEAD}[groups]\ng = [\"h\"]\nh = [\"g\"]\n{RULE}")),
        ["group-cycle", "group-cycle"]
    );
}

#[test]
fn keys_that_would_do_nothing() {
    for action in ["create", "policy", "tag"] {
        let text = format!("{action} = [\"a\"]\npaths = [\"a\"]");
        assert_eq!(rule(&text), ["paths-misplaced"], "{action}");
    }
    for key in [
        "direct = [\"a\"]",
        "match-committer = true",
        "merge-by-account = true",
        "from = [\"refs/heads/x\"]",
        "threshold = { count = 1, of = [\"a\"] }",
    ] {
        let text = format!("create = [\"a\"]\n{key}");
        assert_eq!(rule(&text), ["no-effect"], "{key}");
    }
    rules(&[
        (
            "commit = [\"a\"]\npaths = [\"a\"]\nfrom = [\"refs/heads/x\"]",
            &["paths-misplaced"],
        ),
        (
            "commit = [\"a\"]\ntrial = true\nfrom = [\"refs/heads/x\"]",
            &["no-effect"],
        ),
        ("commit = [\"a\"]\nmerge-by-account = true", &["no-effect"]),
        (
            "commit = [\"anyone\"]\nmatch-committer = true",
            &["no-effect"],
        ),
    ]);
}

#[test]
fn help_and_contact_are_one_short_line() {
    let contact = |value: &str| whole(&format!("contact = {value}\n{HEAD}{RULE}"));
    let help = |value: &str| rule(&format!("commit = [\"a\"]\nhelp = {value}"));
    for value in ["\"https://wiki.example/signing\"", "\"ask #git\""] {
        assert!(contact(value).is_empty() && help(value).is_empty());
    }
    let long = |most: usize| format!("\"{}\"", "ä".repeat(most));
    assert!(contact(&long(MAX_CONTACT)).is_empty() && help(&long(MAX_HELP)).is_empty());
    assert_eq!(contact(&long(MAX_CONTACT + 1)), ["line"]);
    assert_eq!(help(&long(MAX_HELP + 1)), ["line"]);
    for (value, code) in [
        ("\"a\\nb\"", "line"),
        ("\"\\u001b[1m\"", "line"),
        ("\"\"", "empty-text"),
        ("1", "kind"),
    ] {
        assert_eq!(contact(value), [code]);
        assert_eq!(help(value), [code]);
    }
}

#[test]
fn an_age_is_a_number_and_a_unit() {
    let age = |value: &str| {
        let text = format!("max-age = \"{value}\"\n{HEAD}{RULE}");
        Policy::parse(&text, "p").map_or(None, |policy| policy.max_age)
    };
    assert_eq!(age("1h"), Some(3_600));
    assert_eq!(age("30d"), Some(30 * 86_400));
    assert_eq!(age("2w"), Some(14 * 86_400));
    assert_eq!(age("3650d"), Some(3650 * 86_400));
    for bad in [
        "",
        "d",
        "0d",
        "30",
        "30m",
        "3651d",
        "-1d",
        "+1d",
        " 1d",
        "1 d",
        "01d",
        "1.5d",
        "1D",
        "1ä",
        "99999999999999999999d",
    ] {
        assert_eq!(age(bad), None, "{bad}");
    }
    assert_eq!(signer("max-age = \"30m\""), ["age"]);
    assert!(signer("max-age = \"30d\"").is_empty());
}

/// All that a file of version 1 needs is reported at once.
#[test]
fn version_1_is_refused_with_what_to_write_instead() {
    let text = "version = 1\nhelp = \"x\"\n[signers]\na = { issuer = \"https://i.example\", identity = \"a@example.com\" }\n[bots.w]\nauthor = \"W <w@example.com>\"\n[[rules]]\nname = \"r\"\nmode = \"warn\"\ncommit = [\"a\"]\nunsigned = [\"w\"]\nunverified = [\"ssh\"]\nmatch-author = true\nclaims = { subject = \"x\" }\nthreshold = { count = 1, of = [\"a\"], approvals = [\"refs/tags/x\"] }\n";
    let found = errors(text);
    let codes: Vec<&str> = found.iter().map(|error| error.code).collect();
    assert_eq!(codes[0], "version-unknown");
    assert_eq!(codes[1..], ["key-removed"; 8]);
    for (error, (key, instead)) in found[1..].iter().zip([
        ("help", "contact"),
        ("bots", "commit = [\"anyone\"]"),
        ("mode", "trial = true"),
        ("unsigned", "adopt"),
        ("unverified", "cut-off"),
        ("match-author", "match-committer"),
        ("claims", "on the signer"),
        ("approvals", "refs/approvals/"),
    ]) {
        assert!(error.message.contains(&format!("{key:?}")), "{error:?}");
        assert!(error.hint.as_ref().unwrap().contains(instead), "{error:?}");
    }
    assert_eq!(found[0].hint.as_deref(), Some("write version = 2"));
}

#[test]
fn an_override_names_signers() {
    let with = |text: &str| whole(&format!("{HEAD}[override]\n{text}\n{RULE}"));
    assert!(with("by = [\"a\"]").is_empty());
    assert_eq!(with(""), ["kind"]);
    assert_eq!(with("by = [\"anyone\"]"), ["anyone"]);
    assert_eq!(with("by = [\"nobody\"]"), ["nobody-can"]);
    assert_eq!(with("by = [\"a\"]\nfor = 1"), ["key-unknown"]);
}

/// Included files hold signers and groups, and nothing else.
#[test]
fn included_files_hold_people() {
    const MAIN: &str = "version = 2\ninclude = [\"people.toml\", \"more.toml\"]\n[groups]\nall = [\"team\", \"bot\"]\n[[rules]]\nname = \"r\"\ncommit = [\"all\"]\n";
    const PEOPLE: &str = "[signers]\na = { issuer = \"https://i.example\", identity = \"a@example.com\" }\n[groups]\nteam = [\"a\", \"b\"]\n";
    const MORE: &str = "signers.b = { issuer = \"https://i.example\", identity = \"b@example.com\" }\nsigners.bot = { issuer = \"https://i.example\", identity = \"bot\" }\n";
    let parse = |main: &str, people: &str| {
        let (main, people) = (main.to_owned(), people.to_owned());
        Policy::parse_with(&main, "policy.toml", &|name| match name {
            "people.toml" => Ok(people.clone()),
            "more.toml" => Ok(MORE.to_owned()),
            _ => Err("No such file".to_owned()),
        })
    };
    let policy = parse(MAIN, PEOPLE).unwrap();
    let names: Vec<&str> = policy.signers.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "bot"]);
    let who = &policy.rules[0].may[&crate::Action::Commit];
    assert_eq!(who.signers.iter().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(policy.include, ["people.toml", "more.toml"]);

    let shown = |main: &str, people: &str| parse(main, people).unwrap_err().to_string();
    // Errors name the file that they are in; two files cannot define one name.
    for (people, error) in [
        (
            format!("{PEOPLE}x = [\"c\"]\n"),
            "people.toml:5:6: signer or group \"c\" not found [name-unknown]",
        ),
        (
            format!("{PEOPLE}b = [\"a\"]\n"),
            "more.toml:1:9: b is already defined as a signer or group [name-twice]",
        ),
        (
            format!("version = 2\n{PEOPLE}"),
            "people.toml:1:1: an included file has no key \"version\" [key-unknown]",
        ),
        (
            format!("{PEOPLE}[[rules]]\nname = \"x\"\n"),
            "people.toml:5:3: an included file has no key \"rules\" [key-unknown]",
        ),
        ("a = ".to_owned(), "people.toml:1:"),
        ("x".repeat(MAX_POLICY + 1), "people.toml:1:1: the file is"),
    ] {
        let shown = shown(MAIN, &people);
        assert!(shown.contains(error), "{shown}");
    }
    for bad in [
        "../people.toml",
        "/etc/people.toml",
        "a/people.toml",
        "..",
        ".people.toml",
        "a\\\\b.toml",
        "people",
        "people.toml\\u0000.toml",
    ] {
        let shown = shown(&MAIN.replace("more.toml", bad), PEOPLE);
        assert!(
            shown.contains("is not the name of a file beside"),
            "{shown}"
        );
    }
    let shown_for = |name: &str| shown(&MAIN.replace("more.toml", name), PEOPLE);
    assert!(shown_for("gone.toml").contains("policy.toml:2:27: cannot read gone.toml: No such"));
    assert!(shown_for("people.toml").contains("people.toml is included twice"));
    // Where no other file is at hand, a policy that includes one is refused.
    let alone = Policy::parse(MAIN, "policy.toml").unwrap_err();
    assert!(alone.errors.iter().any(|error| error.code == "include"));
    let many: Vec<String> = (0..=MAX_INCLUDES)
        .map(|n| format!("\"f{n}.toml\""))
        .collect();
    let many = format!(
        "version = 2\ninclude = [{}]\n{HEAD_REST}{RULE}",
        many.join(", ")
    );
    assert_eq!(whole(&many), ["too-many"]);
}

#[test]
fn a_cut_off_is_a_whole_id_and_no_date() {
    let cut = |value: &str| whole(&format!("cut-off = [{value}]\n{HEAD}{RULE}"));
    assert!(cut("\"0123456789abcdef0123456789abcdef01234567\"").is_empty());
    assert_eq!(cut("\"0123456789abcdef\""), ["cut-off"]);
    assert_eq!(
        cut("\"0123456789ABCDEF0123456789abcdef01234567\""),
        ["cut-off"]
    );
    assert_eq!(cut("2026-01-01T00:00:00Z"), ["kind"]);
}

#[test]
fn every_mistake_with_line_and_column_and_a_near_key() {
    let text = "version = 2\nmod = \"warn\"\n[signers]\n  \"ä\" = { issuer = 'i', identiti = 'a' }\n[[rules]]\nname = \"r\"\ncommits = [\"a\"]\n";
    let found: Vec<(usize, usize, &str, Option<String>)> = errors(text)
        .into_iter()
        .map(|error| (error.line, error.column, error.code, error.hint))
        .collect();
    assert_eq!(
        found.iter().map(|f| (f.0, f.1, f.2)).collect::<Vec<_>>(),
        [
            (2, 1, "key-unknown"),
            (4, 3, "name"),
            (4, 3, "issuer-without-identity"),
            (4, 25, "key-unknown"),
            (5, 1, "rule-empty"),
            (7, 1, "key-unknown"),
        ]
    );
    assert_eq!(found[0].3.as_deref(), Some("did you mean mode?"));
    assert_eq!(found[3].3.as_deref(), Some("did you mean identity?"));
    assert_eq!(found[5].3.as_deref(), Some("did you mean commit?"));
    let far = errors(&format!("{HEAD}zzzzzz = 1\n{RULE}"));
    assert!(
        far[0].message.contains("signer") || far[0].message.contains("signers"),
        "{far:?}"
    );
    let shown = Policy::parse(text, "p.toml").unwrap_err().to_string();
    assert!(
        shown.starts_with("p.toml:2:1: a policy has no key \"mod\" [key-unknown]\n"),
        "{shown}"
    );
}

#[test]
fn broken_toml_has_its_place_too() {
    let found = errors("version = 2\nmode = \n[signers\n");
    assert!(
        found.len() >= 2 && found.iter().all(|error| error.code == "toml"),
        "{found:?}"
    );
    assert_eq!(found[0].line, 2);
    assert!(errors("version = 2\nversion = 2\n")[0].code == "toml");
    // Depth is bounded by the reader.
    let deep = format!("version = {}1{}", "[".repeat(5000), "]".repeat(5000));
    assert!(!errors(&deep).is_empty());
}

#[test]
fn every_claim_of_fulcio_and_no_other() {
    for claim in CLAIM_OIDS {
        assert!(
            signer(&format!("claims = {{ {} = \"x\" }}", claim.name)).is_empty(),
            "{}",
            claim.name
        );
    }
    assert_eq!(
        signer("claims = { runnerEnviroment = \"x\" }"),
        ["claim-unknown"]
    );
    assert_eq!(signer("claims = { issuerv2 = \"x\" }"), ["claim-unknown"]);
    assert_eq!(
        signer("claims = { subject = { pattern = 'a(' } }"),
        ["pattern-syntax"]
    );
}

#[test]
fn names_are_plain_and_one_of_a_kind() {
    assert_eq!(
        whole(&format!("{HEAD}[groups]\na = [\"b\"]\n{RULE}")),
        ["name-twice"]
    );
    assert_eq!(
        whole(&format!(
            "{HEAD}[signers.anyone]\nissuer = \"i\"\nidentity = \"x\"\n{RULE}"
        )),
        ["name"]
    );
    assert_eq!(
        whole(&format!(
            "{HEAD}[[rules]]\nname = \"r\"\ncommit = [\"a\"]\n[[rules]]\nname = \"r\"\ncommit = [\"b\"]\n"
        )),
        ["name-twice"]
    );
    assert_eq!(
        whole(&format!("{HEAD}[[rules]]\ncommit = [\"a\"]\n")),
        ["rule-without-name"]
    );
    let twice = HEAD.replace(" }", ", accounts = [\"x\"] }");
    assert_eq!(whole(&format!("{twice}{RULE}")), ["account-twice"]);
}

#[test]
fn limits_have_names() {
    let long = format!("#{}\n", "x".repeat(MAX_POLICY));
    assert_eq!(whole(&long), ["policy-too-long"]);
    let mut text = "version = 2\n".to_owned();
    for number in 0..=MAX_SIGNERS {
        text.push_str(&format!(
            "signers.s{number} = {{issuer=\"i\",identity=\"x{number}\"}}\n"
        ));
    }
    text.push_str("[[rules]]\nname = \"r\"\ncommit = [\"s1\"]\n");
    assert!(whole(&text).contains(&"too-many"));
    let ten_thousand = text.replacen("signers.s0 = {issuer=\"i\",identity=\"x0\"}\n", "", 1);
    assert!(whole(&ten_thousand).is_empty());
    let mut text = HEAD.to_owned();
    for number in 0..=MAX_RULES {
        text.push_str(&format!(
            "[[rules]]\nname = \"r{number}\"\ncommit = [\"a\"]\n"
        ));
    }
    assert_eq!(whole(&text), ["too-many"]);
    let mut text = HEAD.to_owned();
    for number in 0..=MAX_PATTERNS {
        text.push_str(&format!(
            "[signers.s{number}]\nissuer = \"i\"\nidentity = {{ pattern = \"x{number}\" }}\n"
        ));
    }
    text.push_str(RULE);
    assert_eq!(whole(&text), ["too-many"]);
    // A pattern that would grow huge is refused before it does.
    assert_eq!(
        signer("claims = { subject = { pattern = '(a{1000}){100}' } }"),
        ["pattern-syntax"]
    );
    assert_eq!(
        whole(&"[[[".repeat(5000)).len(),
        whole(&"[[[".repeat(5000)).len().min(MAX_ERRORS)
    );
}

#[test]
fn reading_twice_is_the_same() {
    let text = format!(
        "{HEAD}[groups]\ng = [\"a\", \"b\"]\n[[rules]]\nname = \"r\"\nrefs = [\"refs/heads/**\"]\ncommit = [\"g\"]\n[signers.c]\nissuer = \"i\"\nidentity = {{ pattern = 'x' }}\n"
    );
    let one = Policy::parse(&text, "p").unwrap();
    assert_eq!(one, Policy::parse(&text, "q").unwrap());
    assert_ne!(
        one,
        Policy::parse(&text.replace("'x'", "'y'"), "p").unwrap()
    );
    assert_ne!(
        one,
        Policy::parse(&text.replace("{ pattern = 'x' }", "'x'"), "p").unwrap()
    );
    assert!(one.describe().contains("may add commits: g"));
}
