//! What leaves this machine and what does not, with names that lead where the
//! test says.

use std::net::IpAddr;
use std::sync::Mutex;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A name that leads to one address after another, and how often it was asked.
fn names(addresses: &[&str]) -> (Lookup, Arc<Mutex<usize>>) {
    let addresses: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let lookup: Lookup = Arc::new(move |_| {
        let mut count = count.lock().unwrap();
        let address = addresses[(*count).min(addresses.len() - 1)];
        *count += 1;
        async move { Ok(vec![address]) }.boxed()
    });
    (lookup, asked)
}

fn callout(origins: &[&str], private: &[&str], lookup: Lookup) -> Callout {
    let reach = Reach {
        origins: origins.iter().map(|text| text.parse().unwrap()).collect(),
        private: private.iter().map(|text| text.parse().unwrap()).collect(),
        max_requests: 2,
        max_body: 1000,
        ..Reach::default()
    };
    Callout::with_lookup(reach, lookup).unwrap()
}

/// A server that answers each connection once, with these bytes.
async fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

async fn get(callout: &Callout, url: &str) -> Result<Answer, CalloutError> {
    let request = http::Request::get(url).body(()).unwrap();
    let outgoing = callout.admit(&request.into_parts().0)?;
    callout
        .send(outgoing, Bytes::new(), Patience::default())
        .await
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_name_is_resolved_once_and_the_connection_goes_there() {
    let port = server(OK).await;
    let (lookup, asked) = names(&["127.0.0.1", "10.0.0.1"]);
    let origin = format!("http://a.example:{port}");
    let callout = callout(&[&origin], &["127.0.0.1/32"], lookup);
    assert_eq!(get(&callout, &origin).await.unwrap().body, "hi");
    assert_eq!(*asked.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_name_that_turns_inwards_is_not_followed() {
    let port = server(OK).await;
    for address in ["127.0.0.1", "::ffff:127.0.0.1"] {
        let (lookup, _) = names(&[address]);
        let origin = format!("http://a.example:{port}");
        let callout = callout(&[&origin], &[], lookup);
        let refused = get(&callout, &origin).await.unwrap_err();
        assert!(matches!(refused, CalloutError::Address(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_not_granted_is_not_asked() {
    let (lookup, asked) = names(&["127.0.0.1"]);
    let callout = callout(&["http://a.example", "*.b.example"], &[], lookup);
    for url in [
        "http://b.example/",
        "https://a.example/",
        "http://a.example:81/",
        "http://a.example.evil.example/",
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://[::1]/",
    ] {
        let refused = get(&callout, url).await.unwrap_err();
        assert!(matches!(refused, CalloutError::Refused(_)), "{url}");
    }
    let named = get(&callout, "http://user:pass@a.example/").await;
    assert!(matches!(named, Err(CalloutError::Url(_))), "{named:?}");
    assert_eq!(*asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let bounded = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let long: &'static str = format!("{bounded}{}", "x".repeat(1001)).leak();
    let fits: &'static str = format!("{bounded}{}", "x".repeat(1000)).leak();
    for (answer, is_well) in [(fits, true), (long, false)] {
        let origin = format!("http://127.0.0.1:{}", server(answer).await);
        let callout = callout(&[&origin], &[], names(&["8.8.8.8"]).0);
        match get(&callout, &origin).await {
            Ok(answer) => assert!(is_well && answer.body.len() == 1000),
            Err(error) => assert!(!is_well && error == CalloutError::ResponseBody(1000)),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let origin = format!("http://127.0.0.1:{}", server(answer).await);
    let callout = callout(&[&origin], &[], names(&["8.8.8.8"]).0);
    let answer = get(&callout, &origin).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.headers.len()), (302, 2));
}

#[tokio::test]
async fn a_failure_says_what_failed() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi";
    let none = "\x16\x03\x01 no HTTP";
    let headers: &'static str = format!(
        "HTTP/1.1 200 OK\r\nx-a: {}\r\ncontent-length: 0\r\n\r\n",
        "x".repeat(40_000)
    )
    .leak();
    let on = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}");
    let cases = [
        (on("http", 1), "the connection was refused"),
        (on("http", server(none).await), "invalid"),
        (on("https", server(OK).await), "TLS failed"),
        (on("http", server(headers).await), "its answer has more"),
    ];
    for (origin, says) in cases {
        let callout = callout(&[&origin], &[], names(&["8.8.8.8"]).0);
        let failed = get(&callout, &origin).await.unwrap_err().to_string();
        assert!(failed.contains(says), "{failed}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = on("http", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(cut.as_bytes()).await;
    });
    let callout = callout(&[&origin], &[], names(&["8.8.8.8"]).0);
    let failed = get(&callout, &origin).await.unwrap_err();
    assert_eq!(failed, CalloutError::Incomplete);
}
