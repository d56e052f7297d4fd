//! The anchor of what a proxy in Rust costs at the least: hyper's server and
//! hyper-util's client, bodies passed on as they come, nothing read in them.

use std::net::SocketAddr;

use http::{Request, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Upstream = Client<HttpConnector, Incoming>;

/// Passes everything on to `upstream`, until the process ends.
pub async fn serve(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let client = client.clone();
        let service = service_fn(move |request| pass_on(client.clone(), request, upstream));
        tokio::spawn(async move {
            let io = TokioIo::new(stream);
            // A client that leaves is nothing to tell of.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        });
    }
}

async fn pass_on(
    client: Upstream,
    mut request: Request<Incoming>,
    upstream: SocketAddr,
) -> anyhow::Result<http::Response<Incoming>> {
    let path = request.uri().path_and_query().cloned();
    let uri = Uri::builder()
        .scheme("http")
        .authority(upstream.to_string());
    *request.uri_mut() = match path {
        Some(path) => uri.path_and_query(path).build()?,
        None => uri.path_and_query("/").build()?,
    };
    request.headers_mut().remove(http::header::HOST);
    request.headers_mut().remove(http::header::CONNECTION);
    let mut response = client.request(request).await?;
    response.headers_mut().remove(http::header::CONNECTION);
    Ok(response)
}
