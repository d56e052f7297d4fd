//! A gateway in this process, on a free port, with a manifest of its own.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use palisade::gateway::Gateway;
use palisade::generation::{Builder, Generation};
use palisade::manifest::{Environment, Manifest, Problems};
use palisade::plugin::{Cache, Engines, Loader};
use palisade::reload::{self, Reloader};
use palisade::server::{self, Drained};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

/// One loader serves all tests of a process, and keeps what it compiles for the
/// next.
fn loader() -> Arc<Loader> {
    static LOADER: OnceLock<Arc<Loader>> = OnceLock::new();
    let make = || {
        let engines = Engines::new(1024).expect("engines");
        let cache = Cache::open(&crate::cache()).expect("a cache");
        Loader::new(engines, Some(cache))
    };
    LOADER.get_or_init(make).clone()
}

/// A running gateway, stopped when it is dropped.
pub struct Palisade {
    pub url: String,
    /// Where its manifest is, and whatever the test puts beside it.
    pub directory: tempfile::TempDir,
    gateway: Arc<Gateway>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Drained>,
    reloading: JoinHandle<()>,
    asked: Arc<Notify>,
}

impl Palisade {
    /// Starts a gateway. In the manifest `{dir}` stands for its directory.
    pub async fn start(manifest: &str) -> Self {
        Self::with_files(manifest, &[]).await
    }

    /// Starts a gateway with copies of files beside its manifest.
    pub async fn with_files(manifest: &str, files: &[(&str, PathBuf)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, from) in files {
            std::fs::copy(from, directory.path().join(name)).expect("a file to copy");
        }
        let file = directory.path().join("proxy.toml");
        let text = manifest.replace("{dir}", &directory.path().display().to_string());
        std::fs::write(&file, &text).expect("the manifest to be written");
        let (manifest, start) = reload::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let (running, _) = mpsc::channel(1);
        let builder = Builder::new(loader(), running);
        let generation = builder
            .build(manifest)
            .await
            .unwrap_or_else(|p| panic!("{p}"));
        let gateway = Arc::new(Gateway::new(generation).expect("a gateway"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let reloader = Reloader::new(gateway.clone(), builder, file, start);
        let (stop, stopped) = oneshot::channel::<()>();
        let wait = async {
            let _ = stopped.await;
        };
        let serving = tokio::spawn(server::serve(gateway.clone(), listener, wait));
        let asked = Arc::new(Notify::new());
        let reloading = tokio::spawn(reloader.run(asked.clone()));
        Self {
            url,
            directory,
            gateway,
            stop: Some(stop),
            serving,
            reloading,
            asked,
        }
    }

    /// What is wrong with a manifest and its plugins; none if nothing is.
    pub async fn problems(manifest: &str, variables: &[(&str, &str)]) -> Option<Problems> {
        let directory = tempfile::tempdir().expect("a directory");
        let environment = Environment::of(variables, directory.path());
        let file = directory.path().join("proxy.toml");
        let manifest = match Manifest::parse(&file, manifest, &environment) {
            Ok(manifest) => manifest,
            Err(problems) => return Some(problems),
        };
        let (running, _ended) = mpsc::channel(1);
        Builder::new(loader(), running).build(manifest).await.err()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The live generation.
    pub fn live(&self) -> Arc<Generation> {
        self.gateway.generation()
    }

    /// The number of the live generation.
    pub fn generation(&self) -> u64 {
        self.gateway.generation().number
    }

    /// Waits until a generation other than `number` is live.
    pub async fn reloaded(&self, number: u64) -> bool {
        for _ in 0..600 {
            if self.generation() != number {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Asks it to reload, as a hangup signal does.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Tells it to stop, and waits until it has.
    pub async fn stop(mut self) -> Drained {
        self.drain().await
    }

    /// The same, and what it has written is still there.
    pub async fn drain(&mut self) -> Drained {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let drained = (&mut self.serving).await.expect("serving to end");
        self.reloading.abort();
        drained
    }

    /// Waits until the record of an exchange is in `log.jsonl`, by its name in
    /// the answer's `palisade-exchange-id`.
    pub async fn record(&self, id: &str) -> Option<Value> {
        for _ in 0..200 {
            let text = std::fs::read_to_string(self.path("log.jsonl")).unwrap_or_default();
            let mut lines = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(record) = lines.find(|line| line["exchange_id"] == id) {
                return Some(record);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }

    /// All records that are in `log.jsonl` when there are `count` of them, or
    /// after ten seconds.
    pub async fn records(&self, count: usize) -> Vec<Value> {
        let mut records = Vec::new();
        for _ in 0..200 {
            let text = std::fs::read_to_string(self.path("log.jsonl")).unwrap_or_default();
            records = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            if records.len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        records
    }
}
