//! Metrics: what is told of plugins, generations and reloads, in a format that
//! every line keeps to.

use std::collections::BTreeMap;

use palisade_tests::{Palisade, guest};

use crate::client::{CHAT, chat, post_json};

/// Calls of the filter in one exchange, whose answer it sees too: `check`, the
/// session, `push` and `finish`.
const CALLS: f64 = 4.0;

const LOOP: &str = "fault = \"loop\", model = \"loop\"";

/// Behind a filter that loops for one model, whose name has all that a name may.
fn manifest(admin: &str, config: &str) -> String {
    format!(
        r#"
        [server]
        settle = "20ms"
        [admin]
        listen = "{admin}"
        [plugins."a.b-c_D"]
        source = "{}"
        config = {{ {config} }}
        grants = ["clocks", "random"]
        limits = {{ time = "60s", cpu = "50ms" }}
        [plugins.echo]
        source = "builtin:provider-echo"
        [[routes]]
        name = "all"
        filters = ["a.b-c_D"]
        provider = "echo"
        "#,
        guest("misbehaving").display()
    )
}

/// Samples by their name and labels.
struct Scraped(BTreeMap<String, f64>);

impl Scraped {
    fn value(&self, sample: &str) -> f64 {
        let value = self.0.get(sample);
        *value.unwrap_or_else(|| panic!("no {sample}: {:#?}", self.0))
    }

    fn calls(&self, outcome: &str) -> f64 {
        let labels = format!("plugin=\"a.b-c_D\",outcome=\"{outcome}\"");
        self.value(&format!("palisade_plugin_calls_total{{{labels}}}"))
    }

    fn of_plugin(&self, name: &str) -> f64 {
        self.value(&format!("palisade_plugin_{name}{{plugin=\"a.b-c_D\"}}"))
    }
}

async fn scrape(palisade: &Palisade) -> Scraped {
    let response = palisade.admin_request("GET", "/metrics").send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    parsed(&response.text().await.unwrap())
}

/// Reads the text as strictly as the format is: each metric has one help, one
/// type and perhaps a unit before its samples, which stand together.
fn parsed(text: &str) -> Scraped {
    let lines = text.strip_suffix("# EOF\n").expect("an end");
    let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
    let mut metric = "";
    for line in lines.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next().unwrap(), words.next().unwrap());
            match word {
                Some("HELP") => metric = name,
                Some("TYPE") => assert!(types.insert(name, rest).is_none(), "{line} again"),
                Some("UNIT") => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line}"),
            }
            assert!(name == metric && !rest.is_empty(), "{line} after {metric}");
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let suffix = match types[metric] {
            "counter" => "_total",
            "info" => "_info",
            "gauge" => "",
            other => panic!("{metric} is a {other}"),
        };
        assert_eq!(name, format!("{metric}{suffix}"), "{line}");
        let labels = labels.strip_suffix('}').expect("the end of labels");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, value) = label.split_once("=\"").expect("a label");
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            assert!(key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            let value = value.strip_suffix('"').expect("a quoted value");
            assert!(value.chars().all(fits), "{line}");
        }
        let value = value.parse().expect("a number");
        let again = samples.insert(sample.to_owned(), value);
        assert!(again.is_none(), "{line} again");
    }
    Scraped(samples)
}

async fn ask(palisade: &Palisade, model: &str) -> u16 {
    post_json(&palisade.url, CHAT, &chat(model, "x"))
        .await
        .status
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_told_by_plugin_and_outcome() {
    for at in ["unix:admin.sock", "127.0.0.1:0"] {
        let palisade = Palisade::start(&manifest(at, LOOP)).await;
        let before = scrape(&palisade).await;
        assert_eq!((before.calls("ok"), before.calls("deadline")), (0.0, 0.0));
        for model in ["m", "a\"} 1\n# EOF\nx{y=\"\\", "m"] {
            assert_eq!(ask(&palisade, model).await, 200);
        }
        let well = scrape(&palisade).await;
        assert_eq!(
            (well.calls("ok"), well.calls("deadline")),
            (3.0 * CALLS, 0.0)
        );
        assert_eq!(well.of_plugin("instances_total"), 3.0);
        assert!(well.of_plugin("time_seconds_total") > 0.0);

        assert_eq!(ask(&palisade, "loop").await, 500);
        let looped = scrape(&palisade).await;
        assert_eq!(
            (looped.calls("ok"), looped.calls("deadline")),
            (3.0 * CALLS, 1.0)
        );
        let slices = "cpu_slices_total";
        let used = looped.of_plugin(slices) - well.of_plugin(slices);
        assert!(used >= 10.0, "the limit was ten slices: {used}");
        assert_eq!(looped.value("palisade_exchanges_in_progress"), 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_only_grow_through_reloads_and_rollbacks() {
    let palisade = Palisade::start(&manifest("unix:admin.sock", LOOP)).await;
    assert_eq!(ask(&palisade, "m").await, 200);
    let told = scrape(&palisade).await;
    assert_eq!(told.value("palisade_generation"), 1.0);
    assert_eq!(told.calls("ok"), CALLS);

    std::fs::write(palisade.path("proxy.toml"), manifest("unix:admin.sock", "")).unwrap();
    let (status, _) = palisade.ask("POST", "reload", "").await;
    assert_eq!(status, 200);
    assert_eq!(ask(&palisade, "m").await, 200);
    let told = scrape(&palisade).await;
    let live = told.value("palisade_generation");
    assert!(live >= 2.0, "{live}");
    assert_eq!(
        told.calls("ok"),
        2.0 * CALLS,
        "the plugin itself counts anew"
    );
    let (status, _) = palisade
        .ask("POST", "rollback", r#"{"generation": 1}"#)
        .await;
    assert_eq!(status, 200);
    assert_eq!(ask(&palisade, "m").await, 200);
    let told = scrape(&palisade).await;
    assert_eq!(told.value("palisade_generation"), 1.0);
    assert_eq!(told.calls("ok"), 3.0 * CALLS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_should_look_at_is_told() {
    let palisade = Palisade::start(&manifest("unix:admin.sock", LOOP)).await;
    let told = scrape(&palisade).await;
    let standing = |told: &Scraped, word: &str| {
        let labels = format!("plugin=\"a.b-c_D\",standing=\"{word}\"");
        told.value(&format!("palisade_plugin_standing{{{labels}}}"))
    };
    assert_eq!(told.value("palisade_reload_failing"), 0.0);
    assert_eq!(
        (standing(&told, "well"), standing(&told, "disabled")),
        (1.0, 0.0)
    );

    palisade.ask("POST", "plugins/a.b-c_D/disable", "").await;
    assert_eq!(ask(&palisade, "m").await, 200);
    std::fs::write(palisade.path("proxy.toml"), "wrong").unwrap();
    let (status, _) = palisade.ask("POST", "reload", "").await;
    assert_eq!(status, 409);
    let told = scrape(&palisade).await;
    assert_eq!(told.value("palisade_reload_failing"), 1.0);
    assert_eq!(
        (standing(&told, "well"), standing(&told, "disabled")),
        (0.0, 1.0)
    );
    let (ok, disabled) = (told.calls("ok"), told.calls("disabled"));
    assert!(ok == 0.0 && disabled > 0.0, "{ok} {disabled}");
}
