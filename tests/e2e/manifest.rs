//! What is said of a manifest that is wrong: everything at once, each with its
//! line. The shipped one is right, and is the reference.

use std::path::Path;

use palisade_tests::{Palisade, guest};

const ECHO: &str = "[plugins.echo]\nsource = \"builtin:provider-echo\"\n[[routes]]\nname = \"all\"\nprovider = \"echo\"\n";

async fn said(manifest: &str) -> Vec<String> {
    let problems =
        Palisade::problems(manifest, &[("SET", "sk-canary"), ("SPACED", "sk canary")]).await;
    let list = problems.map(|problems| problems.list).unwrap_or_default();
    let line = |p: palisade::manifest::Problem| {
        let hint = p.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}: {}{hint}", p.line.unwrap_or_default(), p.message)
    };
    list.into_iter().map(line).collect()
}

#[tokio::test]
async fn every_problem_is_told_at_once_with_its_line() {
    let manifest = r#"[server]
lsiten = "127.0.0.1:1"
listen = "localhost"
max-request-body = "7MB"
drain-timeout = 3

[plugins.echo]
source = "builtin:provider-ecko"
grants = ["clock"]
limits = { memory = "2GiB" }
on-failure = "ignore"

[plugins."bad name"]
source = "x.wasm"

[plugins.openai]
upstream = "ftp://x/"
credential = "opneai"

[credentials.openai]
secret = "sk-canary"

[[routes]]
name = "a"
provider = "echos"
filters = ["echo", 3]
match = { model = "[", paht = "x" }

[[routes]]
name = "a"
"#;
    let expected = [
        "2: unknown key `lsiten` in [server] (did you mean `listen`?)",
        "3: `listen` is \"localhost\" (write an address and a port: \"127.0.0.1:8000\", \"[::]:8000\")",
        "4: `max-request-body` in [server] is string, not a size such as \"32MiB\" or a number of bytes",
        "5: `drain-timeout` in [server] is integer, not a time such as \"50ms\", \"30s\" or \"10m\"",
        "9: there is no grant \"clock\" (there are \"clocks\", \"random\", \"http:https://HOST\", \"private:NETWORK\", \"keyvalue:NAME\", \"secret:NAME\")",
        "10: `memory` is 2147483648 (it is at least 1MiB and at most 1GiB)",
        "11: `on-failure` is \"ignore\" (write \"reject\" or \"bypass\")",
        "13: \"bad name\" is not a name: 1 to 64 letters, digits, \"-\", \"_\" or \".\"",
        "16: [plugins.openai] has no `source`",
        "20: [credentials.openai] needs either `env` or `file` (a secret itself never stands in the manifest)",
        "20: [credentials.openai] is bound to no host (name them: hosts = [\"api.openai.com\"])",
        "21: unknown key `secret` in [credentials.openai] (known keys: env, file, hosts)",
        "25: there is no plugin \"echos\" (did you mean \"echo\"?)",
        "26: `filters` in [routes] is integer, not a string",
        "27: \"[\" is not a glob: unclosed character class; missing ']'",
        "27: unknown key `paht` in [routes.match] (did you mean `path`?)",
        "29: [routes] has no `provider`",
    ];
    let said = said(manifest).await;
    for line in expected {
        assert!(
            said.iter().any(|s| s == line),
            "missing: {line}\nsaid:\n{}",
            said.join("\n")
        );
    }
    assert_eq!(said.len(), expected.len(), "{}", said.join("\n"));
}

#[tokio::test]
async fn a_grant_that_is_none_is_told_with_what_to_write() {
    let manifest = r#"[plugins.echo]
source = "builtin:provider-echo"
limits = { http-body = "1GiB", http-requests = 0 }
grants = [
    "http:ftp://x",
    "http:https://x/path",
    "http:*.com",
    "private:10.0.0.0/99",
    "keyvalue:a b",
    "secret:",
    "secret:SET",
]
[[routes]]
name = "all"
provider = "echo"
"#;
    let origin = "(\"http:https://api.example.com\")";
    let name = "(1 to 64 letters, digits, \"-\", \"_\" or \".\")";
    let expected = [
        "3: `http-body` is 1073741824 (it is at most 64MiB)".to_owned(),
        "3: `http-requests` in [plugins.echo.limits] is integer, not a whole number from 1 to 4294967295".to_owned(),
        "4: there is no credential \"SET\"".to_owned(),
        format!("5: \"http:ftp://x\" is not a grant: scheme \"ftp\" is not https or http {origin}"),
        format!("6: \"http:https://x/path\" is not a grant: it is a scheme, a host and a port, and nothing else {origin}"),
        format!("7: \"http:*.com\" is not a grant: `*.` stands before a domain of one's own {origin}"),
        "8: \"private:10.0.0.0/99\" is not a grant: it names no network (\"private:10.0.0.0/8\", \"private:fd00::/8\")".to_owned(),
        format!("9: \"keyvalue:a b\" is not a grant: \"a b\" is not a name {name}"),
        format!("10: \"secret:\" is not a grant: \"\" is not a name {name}"),
    ];
    assert_eq!(said(manifest).await, expected);
}

#[tokio::test]
async fn problems_of_plugins_have_lines_too() {
    let file = |name: &str| guest(name).display().to_string();
    let cases = [
        ("[plugins.x]\nsource = \"missing.wasm\"\n".to_owned(), "cannot be read"),
        ("[plugins.x]\nsource = \"builtin:nope\"\n".to_owned(), "there is no builtin:nope (there are logger, model-rewriter"),
        (format!("[plugins.x]\nsource = \"{}\"\n", file("wrong-world")), "it exports none of the stages"),
        (format!("[plugins.x]\nsource = \"{}\"\n", file("future-version")), "it was built for palisade:plugin@0.9.0, and this host speaks palisade:plugin@0.1.0"),
        (format!("[plugins.x]\nsource = \"{}\"\n", file("ungranted-import")), "it imports \"wasi:sockets/"),
        (format!("[plugins.x]\nsource = \"{}\"\n", file("start-trap")), "it cannot be started: it trapped"),
        (format!("[plugins.x]\nsource = \"{}\"\nconfig = {{ fault = \"panic\", at = \"configure\" }}\n", file("misbehaving")), "it imports \"wasi:"),
        (format!("[plugins.x]\nsource = \"{}\"\ngrants = [\"clocks\", \"random\"]\nconfig = {{ fault = \"panic\", at = \"configure\" }}\n", file("misbehaving")), "it cannot be started: it trapped"),
        (format!("[plugins.x]\nsource = \"{}\"\nconfig = {{ a = 1 }}\n", file("memory-reader")), "it takes no configuration"),
        ("[plugins.x]\nsource = \"builtin:security-filter\"\n[plugins.x.config]\nmax-tokens = 5\nallowed-modles = []\n".to_owned(), "config /allowed-modles"),
    ];
    for (plugin, says) in cases {
        let said = said(&format!("{plugin}{ECHO}")).await;
        assert!(
            said.iter().any(|s| s.contains(says)),
            "{says} is not among: {said:?}"
        );
        let line = if says.starts_with("config") {
            "5: "
        } else {
            "2: "
        };
        assert!(said[0].starts_with(line), "{said:?}");
    }
}

#[tokio::test]
async fn what_belongs_together_is_checked() {
    let with = |more: &str| format!("{ECHO}{more}");
    let cases = [
        (String::new(), "there is no route"),
        ("[plugins.log]\nsource = \"builtin:logger\"\n[[routes]]\nname = \"a\"\nprovider = \"log\"\n".into(), "cannot serve as provider"),
        (with("[keys.a]\nenv = \"UNSET\"\n"), "environment variable UNSET is not set or empty"),
        (with("[credentials.a]\nenv = \"SPACED\"\nhosts = \"h\"\n"), "holds white space"),
        (with("[plugins.o]\nsource = \"builtin:provider-openai\"\nupstream = \"https://evil.example/v1\"\ncredential = \"c\"\n[credentials.c]\nenv = \"SET\"\nhosts = [\"api.openai.com\"]\n"), "credential \"c\" is not bound to host evil.example"),
        (with("[plugins.o]\nsource = \"builtin:provider-openai\"\nupstream = \"https://u:p@h/\"\n"), "holds a user name or a password"),
        ("x = \n".into(), "1: "),
    ];
    for (manifest, says) in cases {
        let said = said(&manifest).await;
        assert!(
            said.iter().any(|s| s.contains(says)),
            "{says} is not among: {said:?}"
        );
        assert!(!said.concat().contains("canary"), "{said:?}");
    }
}

#[tokio::test]
async fn the_shipped_manifest_is_right() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy.toml");
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(Palisade::problems(&text, &[]).await, None);
    let keys = [
        ("OPENAI_API_KEY", "a"),
        ("ANTHROPIC_API_KEY", "b"),
        ("CEREBRAS_API_KEY", "c"),
    ];
    assert_eq!(Palisade::problems(&text, &keys).await, None);
}
