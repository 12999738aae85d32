//! The reference of the policy, `docs/policy.md`, and its schema are those of the
//! parser: every key here is a key there, and every example is a policy.

use std::{collections::BTreeSet, fs};

use gitseal_evidence::certificate::CLAIM_OIDS;
use gitseal_policy::{
    Policy, codes,
    diff::{ChangeKind, diff},
    lint::lint,
    parse::{CONDITION_KEYS, KEYS, OVERRIDE_KEYS, RULE_KEYS, SIGNER_KEYS, THRESHOLD_KEYS},
};
use serde_json::Value;

fn file(name: &str) -> String {
    fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn examples() -> Vec<String> {
    file("policy.md")
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_example_is_a_policy() {
    const PEOPLE: &str = "# people.toml\n";
    let (people, examples): (Vec<_>, Vec<_>) = examples()
        .into_iter()
        .partition(|example| example.starts_with(PEOPLE));
    assert!(examples.len() >= 7 && people.len() == 1);
    let text = file("policy.md");
    for (number, example) in examples.iter().enumerate() {
        let name = format!("example {number}");
        let read = |name: &str| match name {
            "people.toml" => Ok(people[0].clone()),
            _ => Err("no such file".to_owned()),
        };
        let policy =
            Policy::parse_with(example, &name, &read).unwrap_or_else(|errors| panic!("{errors}"));
        let described = policy.describe();
        for rule in &policy.rules {
            assert!(described.contains(&format!("\nRule {}", rule.name)));
        }
        // What is unusual in an example, the text below it explains.
        let (_, after) = text.split_once(example.as_str()).unwrap();
        let after = after.split("\n### ").next().unwrap();
        for lint in lint(&policy) {
            assert!(
                after.contains(&format!("(`{}`)", lint.code)),
                "{name}: {} {} [{}]",
                lint.place,
                lint.message,
                lint.code
            );
        }
    }
}

/// What is new in the language is told of the examples that use it.
#[test]
fn descriptions_name_what_the_examples_use() {
    let examples = examples();
    let people = examples
        .iter()
        .find(|example| example.starts_with("# people.toml"))
        .unwrap();
    let all: String = examples
        .iter()
        .filter_map(|example| Policy::parse_with(example, "p", &|_| Ok(people.clone())).ok())
        .map(|policy| policy.describe())
        .collect();
    for line in [
        "Contact: #git-help\n",
        "A signature counts for 60 days.\n",
        "Signers and groups are also in people.toml.\n",
        "May override refusals with a signed push: duty-officer.\n",
        "anyone may add commits, signed or not: the ref is not protected\n",
        "takes commits without evaluation from refs/heads/main\n",
        "direct commits: nobody\n",
        "help: merge your branch: git merge --no-ff -S BRANCH\n",
        "2 distinct signers from security are required\n",
        "Rule only the bot writes the changelog, on trial (on trial: only reported):\n",
    ] {
        assert!(all.contains(line), "{line} is not in\n{all}");
    }
}

#[test]
fn the_schema_has_the_parsers_keys() {
    let schema: Value = serde_json::from_str(&file("policy.schema.json")).unwrap();
    let keys = |pointer: &str| -> BTreeSet<String> {
        schema
            .pointer(pointer)
            .and_then(Value::as_object)
            .unwrap_or_else(|| panic!("{pointer}"))
            .keys()
            .cloned()
            .collect()
    };
    let set =
        |keys: &[&str]| -> BTreeSet<String> { keys.iter().map(|k| (*k).to_owned()).collect() };
    assert_eq!(keys("/properties"), set(&KEYS));
    assert_eq!(keys("/$defs/signer/properties"), set(&SIGNER_KEYS));
    assert_eq!(keys("/$defs/override/properties"), set(&OVERRIDE_KEYS));
    assert_eq!(keys("/$defs/rule/properties"), set(&RULE_KEYS));
    assert_eq!(keys("/$defs/threshold/properties"), set(&THRESHOLD_KEYS));
    assert_eq!(
        keys("/$defs/condition/oneOf/1/properties"),
        set(&CONDITION_KEYS)
    );
    let claims: Vec<&str> = CLAIM_OIDS.iter().map(|claim| claim.name).collect();
    assert_eq!(keys("/$defs/claims/properties"), set(&claims));
    for definition in [
        "",
        "/$defs/signer",
        "/$defs/override",
        "/$defs/rule",
        "/$defs/threshold",
        "/$defs/claims",
    ] {
        let closed = schema.pointer(&format!("{definition}/additionalProperties"));
        assert_eq!(closed, Some(&Value::Bool(false)), "{definition}");
    }
}

#[test]
fn the_reference_names_every_key_claim_and_code() {
    let text = file("policy.md");
    let keys = KEYS
        .iter()
        .chain(&SIGNER_KEYS)
        .chain(&OVERRIDE_KEYS)
        .chain(&RULE_KEYS)
        .chain(&THRESHOLD_KEYS);
    let claims = CLAIM_OIDS.iter().map(|claim| claim.name);
    for word in keys
        .copied()
        .chain(claims)
        .chain(codes::ALL.iter().copied())
    {
        assert!(text.contains(&format!("`{word}`")), "{word}");
    }
}

/// The table of the reference lists each code of a finding once, with its meaning and
/// the next step.
#[test]
fn the_reference_explains_every_code() {
    let text = file("policy.md");
    let (_, table) = text.split_once("| code | meaning | next step |\n").unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let codes: Vec<&str> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert!(
                cells.len() == 3 && cells.iter().all(|cell| cell.len() > 3),
                "{row}"
            );
            cells[0].trim_matches('`')
        })
        .collect();
    // The last three are of refs that no rule has to speak of (`gate/target.rs`).
    let unusual = ["reference-special", "branch-of-tag", "reference-of-other"];
    let of_rules: Vec<&str> = codes
        .iter()
        .copied()
        .filter(|code| !unusual.contains(code))
        .collect();
    assert_eq!(of_rules, codes::ALL);
    assert_eq!(codes.len(), codes::ALL.len() + unusual.len());
}

#[test]
fn who_gains_and_who_loses() {
    let policy = |team: &str, bob: &str, rest: &str| {
        let text = format!(
            "version = 2\n[signers]\na = {{ issuer = \"https://i.example\", identity = \"a@example.com\" }}\nb = {{ issuer = \"https://i.example\", identity = \"{bob}\" }}\n[groups]\nteam = [{team}]\n[[rules]]\nname = \"r\"\nrefs = [\"refs/heads/**\"]\ncommit = [\"team\"]\n{rest}"
        );
        Policy::parse(&text, "p").unwrap_or_else(|errors| panic!("{errors}"))
    };
    let one = policy("\"a\"", "b@example.com", "");
    assert!(diff(&one, &one).is_empty());
    let said = |old: &Policy, new: &Policy| -> Vec<(ChangeKind, String, String)> {
        diff(old, new)
            .into_iter()
            .map(|change| (change.kind, change.subject, change.message))
            .collect()
    };
    let both = policy("\"a\", \"b\"", "b@example.com", "");
    let gain = (
        ChangeKind::Gains,
        "b".to_owned(),
        "may add commits on refs/heads/**".to_owned(),
    );
    assert_eq!(said(&one, &both), [gain]);
    let loss = (
        ChangeKind::Loses,
        "b".to_owned(),
        "may no longer add commits on refs/heads/**".to_owned(),
    );
    assert_eq!(said(&both, &one), [loss]);
    // Another rule about the same narrows it, whatever it is called.
    let narrowed = policy(
        "\"a\", \"b\"",
        "b@example.com",
        "[[rules]]\nname = \"s\"\nrefs = [\"refs/heads/**\"]\ncommit = [\"a\"]\n",
    );
    assert_eq!(said(&both, &narrowed)[0].0, ChangeKind::Loses);
    assert_eq!(said(&both, &narrowed).len(), 1);
    let other = policy(
        "\"a\", \"b\"",
        "mallory@example.com",
        "match-committer = true\n",
    );
    let changes = said(&both, &other);
    assert_eq!(changes.len(), 2);
    assert!(
        changes
            .iter()
            .any(|c| c.1 == "b" && c.2.contains("mallory@example.com"))
    );
    assert!(
        changes
            .iter()
            .any(|c| c.2 == "from now on: the committer must be the signer")
    );
}

/// A rule on trial gives and takes nothing.
#[test]
fn trials_are_told_apart() {
    let policy = |rule: &str| {
        let text = format!(
            "version = 2\n[signers]\na = {{ issuer = \"https://i.example\", identity = \"a@example.com\" }}\nb = {{ issuer = \"https://i.example\", identity = \"b@example.com\" }}\n[[rules]]\nname = \"r\"\ncommit = [\"a\", \"b\"]\n[[rules]]\nname = \"s\"\ncommit = [\"a\"]\n{rule}"
        );
        Policy::parse(&text, "p").unwrap_or_else(|errors| panic!("{errors}"))
    };
    let (trial, real) = (policy("trial = true\n"), policy(""));
    let said: Vec<(ChangeKind, String)> = diff(&trial, &real)
        .into_iter()
        .map(|change| {
            (
                change.kind,
                format!("{}: {}", change.subject, change.message),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (
                ChangeKind::Loses,
                "b: may no longer add commits on every ref".to_owned()
            ),
            (ChangeKind::Changes, "rule s: no longer on trial".to_owned()),
        ]
    );
}

/// I4: what only looks right is shown with its code points.
#[test]
fn what_only_looks_right_is_shown() {
    let lints = |issuer: &str, identity: &str| -> Vec<&'static str> {
        let text = format!(
            "version = 2\n[signers]\na = {{ issuer = \"https://i.example\", identity = \"alice@example.com\" }}\nx = {{ issuer = {issuer}, identity = {identity} }}\n[[rules]]\nname = \"r\"\ncommit = [\"a\", \"x\"]\n"
        );
        let policy = Policy::parse(&text, "p").unwrap_or_else(|errors| panic!("{errors}"));
        lint(&policy).into_iter().map(|lint| lint.code).collect()
    };
    let good = "\"https://i.example\"";
    assert!(lints(good, "\"bob@example.com\"").is_empty());
    assert_eq!(
        lints(good, "\"\u{430}lice@example.com\""),
        ["odd-characters", "look-alike"]
    );
    assert_eq!(lints(good, "\"Alice@example.com\""), ["look-alike"]);
    assert_eq!(
        lints(good, "\"bob@\u{200b}example.com\""),
        ["odd-characters"]
    );
    assert_eq!(lints(good, "\" bob@example.com\""), ["odd-characters"]);
    assert_eq!(lints(good, "\"bob@EXAMPLE.com\""), ["uppercase-host"]);
    assert_eq!(lints(good, "\"bob@example.com.\""), ["trailing-dot"]);
    assert_eq!(lints(good, "{ pattern = 'bob@example.com' }"), ["bare-dot"]);
    assert_eq!(lints(good, "{ pattern = '.*' }"), ["matches-anybody"]);
    assert!(lints(good, r"{ pattern = 'bob@example\.com' }").is_empty());
    for any in [
        "https://.*",
        "https://.+/login",
        r"https://.*\.example\.com",
        "^https://[^/]+/oauth$",
        r"https://\S+/oauth",
        "(https://.*)?",
    ] {
        let found = lints(&format!("{{ pattern = '{any}' }}"), "\"b\"");
        assert_eq!(found, ["any-host"], "{any}");
    }
    for one in [
        r"https://login\.example\.com/.*",
        r"https://[a-z]+\.example\.com",
        r"https://(a|b)\.example\.com/[0-9]+",
    ] {
        let found = lints(&format!("{{ pattern = '{one}' }}"), "\"b\"");
        assert!(found.is_empty(), "{one}: {found:?}");
    }
    assert_eq!(lints("\"http://i.example\"", "\"b\""), ["issuer-not-https"]);
    assert_eq!(lints("\"https://i.example/\"", "\"b\""), ["trailing-slash"]);
    assert_eq!(lints("\"https://I.example\"", "\"b\""), ["uppercase-host"]);
    assert_eq!(
        lints("\"https:%2F%2Fi.example\"", "\"b\""),
        ["issuer-not-https", "percent"]
    );
    assert_eq!(lints(good, "\"alice@example.com\""), ["same-signer"]);
}
