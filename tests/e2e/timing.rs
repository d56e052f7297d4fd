//! Where the time of an exchange went, told in `server-timing` if the manifest
//! asks for it.

use std::time::Duration;

use palisade_tests::{Answer, Capture, Palisade, guest};

use crate::client::{CHAT, Got, chat, post_json, streamed};

const ANSWER: &str = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;

fn manifest(upstream: &str, wanted: bool) -> String {
    format!(
        r#"
        [server]
        server-timing = {wanted}
        [plugins.openai]
        source = "builtin:provider-openai"
        upstream = "{upstream}/v1"
        [plugins.security]
        source = "builtin:security-filter"
        config = {{ forbidden-instructions = ["user:*evil*"] }}
        [plugins.guard]
        source = "{}"
        [plugins.rewriter]
        source = "builtin:model-rewriter"
        [[routes]]
        name = "all"
        match = {{ path = "/v1/*" }}
        provider = "openai"
        filters = ["security", "guard"]
        rewriter = "rewriter"
        [[routes]]
        name = "rest"
        upstream = "{upstream}"
        "#,
        guest("guard").display()
    )
}

/// The shares that an answer tells, in their order.
fn shares(got: &Got) -> Vec<(String, f64)> {
    let field = got.header("server-timing");
    let share = |part: &str| {
        let (name, rest) = part.trim().split_once(";dur=").unwrap();
        // A slice may end while any plugin runs.
        let time = rest.split(';').next().unwrap();
        (name.to_owned(), time.parse().unwrap())
    };
    field
        .split(',')
        .filter(|part| !part.is_empty())
        .map(share)
        .collect()
}

fn names(shares: &[(String, f64)]) -> Vec<&str> {
    shares.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn an_answer_tells_where_its_time_went() {
    let pause = Duration::from_millis(50);
    let whole = Answer {
        pieces: vec![(
            pause,
            Answer::whole("200 OK", "application/json", ANSWER)
                .pieces
                .remove(0)
                .1,
        )],
    };
    let upstream = Capture::start(whole).await;
    let palisade = Palisade::start(&manifest(&upstream.url, true)).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let told = shares(&got);
    let expected = [
        "total", "security", "rewriter", "openai", "upstream", "guard",
    ];
    assert_eq!(
        names(&told),
        expected,
        "a whole answer has been through all of it"
    );
    let (total, upstream) = (told[0].1, told[4].1);
    assert!(upstream >= 50.0 && total >= upstream, "{told:?}");

    let got = post_json(&palisade.url, CHAT, &chat("m", "evil")).await;
    assert_eq!(got.status, 403);
    assert_eq!(
        names(&shares(&got)),
        ["total", "security"],
        "so does a refusal"
    );
    let got = post_json(&palisade.url, "/x", &chat("m", "x")).await;
    assert_eq!(names(&shares(&got)), ["total", "upstream"]);
}

#[tokio::test]
async fn a_stream_tells_what_came_before_its_first_byte() {
    let event = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n";
    let answer = Answer::stream(&[event, "data: [DONE]\n\n"], Duration::ZERO);
    let upstream = Capture::start(answer).await;
    let palisade = Palisade::start(&manifest(&upstream.url, true)).await;
    let got = post_json(&palisade.url, CHAT, &streamed(chat("m", "x"))).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let told = shares(&got);
    assert!(names(&told).contains(&"upstream"), "{told:?}");
}

/// The limit of CPU time ends a loop after so many slices, which are told.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_computes_tells_its_slices() {
    let manifest = format!(
        r#"
        [server]
        server-timing = true
        [plugins.it]
        source = "{}"
        config = {{ fault = "loop" }}
        grants = ["clocks", "random"]
        limits = {{ time = "60s", cpu = "50ms" }}
        on-failure = "bypass"
        [plugins.echo]
        source = "builtin:provider-echo"
        [[routes]]
        name = "all"
        filters = ["it"]
        provider = "echo"
        "#,
        guest("misbehaving").display()
    );
    let palisade = Palisade::start(&manifest).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let told = got.header("server-timing");
    let mut shares = told.split(", ");
    let share = shares.find(|share| share.starts_with("it;dur="));
    let (_, slices) = share.unwrap().split_once(";cpu-slices=").unwrap();
    // To start an instance may take one as well.
    assert!(slices.parse::<u32>().unwrap() >= 10, "{told}");
}

#[tokio::test]
async fn nothing_is_told_unasked() {
    let answer = Answer::whole("200 OK", "application/json", ANSWER);
    let upstream = Capture::start(answer).await;
    let palisade = Palisade::start(&manifest(&upstream.url, false)).await;
    let got = post_json(&palisade.url, CHAT, &chat("m", "x")).await;
    assert_eq!((got.status, got.header("server-timing")), (200, ""));
}
