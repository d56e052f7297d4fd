//! Parts that the host does by itself.

use std::hint::black_box;

use anyhow::Context as _;
use palisade::dialect::{self, Settings};
use palisade::frame::Framer;
use palisade::json::Json;
use palisade::plugin::Framing;

use crate::sample;

/// A body is looked at as a request's is: no member twice, the model, and what
/// a model will read.
pub fn read(times: usize) -> anyhow::Result<()> {
    let bytes = sample::request();
    let dialect = dialect::hub();
    for _ in 0..times {
        let body = Json::new(bytes.clone());
        body.unambiguous()?;
        black_box(body.string("/model"));
        let root = body.root().context("the sample is no JSON")?;
        black_box(dialect.contents(root).joined());
    }
    Ok(())
}

/// One value of a body is replaced.
pub fn splice(times: usize) -> anyhow::Result<()> {
    let bytes = sample::request();
    for _ in 0..times {
        let body = Json::new(bytes.clone());
        black_box(body.set("/model", "\"gpt-4o-2024-08-06\"")?);
    }
    Ok(())
}

/// A stream is cut into its events, from pieces that end within them.
pub fn framing(times: usize) -> anyhow::Result<()> {
    let stream = sample::stream();
    for _ in 0..times {
        let mut framer = Framer::new(Framing::Sse, 1 << 20).context("no framer")?;
        let mut frames = Vec::new();
        for piece in stream.chunks(1000) {
            framer.push(piece, &mut frames)?;
        }
        framer.finish(&mut frames);
        black_box(frames.len());
    }
    Ok(())
}

/// A stream of events is written in a dialect.
pub fn render(dialect: &str, times: usize) -> anyhow::Result<()> {
    let dialect = dialect::by_name(dialect).context("no such dialect")?;
    let events = sample::events();
    let settings = Settings {
        exchange: "px-1".to_owned(),
        model: "gpt-4o".to_owned(),
        created: 1_700_000_000,
        usage_in_stream: true,
        same_dialect: false,
    };
    for _ in 0..times {
        let mut renderer = dialect.stream_renderer(settings.clone());
        let mut out = Vec::new();
        for event in events.chunks(1) {
            renderer.events(event, &mut out);
        }
        renderer.finish(&mut out);
        black_box(out.len());
    }
    Ok(())
}
