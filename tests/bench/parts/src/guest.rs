//! Parts that cross into a sandbox and back.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use http::{HeaderMap, Method, StatusCode};
use palisade::dialect;
use palisade::frame::{Framed, Framer};
use palisade::generation::Builder;
use palisade::json::Json;
use palisade::manifest::{Environment, Manifest};
use palisade::message::{Exchange, Facts, Notes, Request, ResponseHead, Target};
use palisade::plugin::{Cache, Engines, Framing, Instance, Loader, Plugin};

use crate::sample;

/// Instances that the pool has room for, of which one is used at a time: too
/// few for one to wait for another exchange, and enough.
const FEW: u32 = 4;
const MANY: u32 = 8;

/// A plugin that does next to nothing, and one that does its work.
const ASKER: &str = "asker.wasm";
const ADAPTER: &str = "builtin:provider-openai";

/// An instance is made, called and dropped.
pub fn instance(times: usize, directory: &Path) -> anyhow::Result<()> {
    exchanges(times, directory, FEW)
}

/// An instance is taken, called and put back.
pub fn put_back(times: usize, directory: &Path) -> anyhow::Result<()> {
    exchanges(times, directory, MANY)
}

fn exchanges(times: usize, directory: &Path, instances: u32) -> anyhow::Result<()> {
    with_plugin(directory, ASKER, instances, async |plugin| {
        let (mut exchange, mut request) = messages();
        for _ in 0..times {
            let mut instance = Instance::start(&plugin).await?;
            black_box(instance.check(&mut exchange, &mut request).await?);
        }
        Ok(())
    })
}

/// An instance that runs already is called; its 64 questions are answered.
pub fn accessor(times: usize, directory: &Path) -> anyhow::Result<()> {
    with_plugin(directory, ASKER, FEW, async |plugin| {
        let (mut exchange, mut request) = messages();
        let mut instance = Instance::start(&plugin).await?;
        for _ in 0..times {
            black_box(instance.check(&mut exchange, &mut request).await?);
        }
        Ok(())
    })
}

/// An instance that runs already is called, and asks nothing.
pub fn call(times: usize, directory: &Path) -> anyhow::Result<()> {
    with_plugin(directory, ASKER, FEW, async |plugin| {
        let (mut exchange, _) = messages();
        let events = sample::events();
        let mut instance = Instance::start(&plugin).await?;
        let session = instance.session(&mut exchange).await?;
        for _ in 0..times {
            black_box(
                instance
                    .guard(&mut exchange, session, &events[1..2])
                    .await?,
            );
        }
        Ok(())
    })
}

/// The frames of a stream are decoded, sixteen at a time.
pub fn decode(times: usize, directory: &Path) -> anyhow::Result<()> {
    with_plugin(directory, ADAPTER, FEW, async |plugin| {
        let (mut exchange, _) = messages();
        let head = ResponseHead {
            status: StatusCode::OK,
            headers: Arc::default(),
            streamed: true,
        };
        let mut framer = Framer::new(Framing::Sse, 1 << 20).context("no framer")?;
        let mut framed = Vec::new();
        framer.push(&sample::stream(), &mut framed)?;
        let frames: Vec<_> = framed
            .into_iter()
            .map(|Framed { frame, .. }| frame)
            .collect();
        let mut instance = Instance::start(&plugin).await?;
        let decoder = instance.decoder(&mut exchange, &head).await?;
        for _ in 0..times {
            // The first tells who speaks, the last that nothing follows.
            for frames in frames[1..49].chunks(16) {
                black_box(instance.decode(&mut exchange, decoder, frames).await?);
            }
        }
        Ok(())
    })
}

/// Loads an adapter by the gateway's own way, from a manifest.
fn with_plugin(
    directory: &Path,
    source: &str,
    instances: u32,
    part: impl AsyncFnOnce(Arc<Plugin>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let text = format!(
        "[plugins.adapter]\nsource = \"{source}\"\nupstream = \"http://127.0.0.1:1\"\n\
         [[routes]]\nname = \"all\"\nprovider = \"adapter\"\n"
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let file = directory.join("proxy.toml");
        let environment = Environment::of(&[], directory);
        let manifest = Manifest::parse(&file, &text, &environment)?;
        // Compiling costs a thousand times what is counted.
        let cache = Cache::open(&directory.join("cache"))?;
        let loader = Loader::new(Engines::new(instances)?, Some(cache));
        let (running, _ended) = tokio::sync::mpsc::channel(1);
        let generation = Builder::new(loader, running).build(manifest).await?;
        let plugin = generation.plugins.first();
        part(plugin.context("the plugin was not loaded")?.clone()).await
    })
}

fn messages() -> (Exchange, Request) {
    let facts = Facts {
        id: "px-1".to_owned(),
        route: "all".to_owned(),
        principal: None,
        dialect: Some(dialect::hub()),
        streaming: true,
        requested_model: Some("gpt-4o".to_owned()),
    };
    let exchange = Exchange {
        facts: Arc::new(facts),
        notes: Notes::default(),
    };
    let target = Target {
        method: Method::POST,
        path: "/v1/chat/completions".to_owned(),
        query: None,
    };
    let request = Request {
        target: Arc::new(target),
        headers: Arc::new(HeaderMap::new()),
        body: Json::new(sample::request()),
        dialect: Some(dialect::hub()),
        dropped: Vec::new(),
    };
    (exchange, request)
}
