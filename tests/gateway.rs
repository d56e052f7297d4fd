//! A gateway in this process, on a free port, with a manifest of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use palisade::admin::Listener;
use palisade::gateway::Gateway;
use palisade::generation::{Builder, Generation};
use palisade::manifest::{Admin, Environment, Manifest, Problems};
use palisade::plugin::{Cache, Engines, Loader};
use palisade::process::{self, Parts, Process};
use palisade::reload::{self, Control};
use palisade::server::Drained;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// One loader serves all tests of a process, and keeps what it compiles for the
/// next.
fn loader() -> Arc<Loader> {
    static LOADER: OnceLock<Arc<Loader>> = OnceLock::new();
    LOADER.get_or_init(|| loader_of(1024)).clone()
}

/// A loader in a process that is as the program's is.
fn loader_of(instances: u32) -> Arc<Loader> {
    process::keep_to_small_pages();
    let engines = Engines::new(instances).expect("engines");
    let cache = Cache::open(&crate::cache()).expect("a cache");
    Loader::new(engines, Some(cache))
}

/// A running gateway, stopped when it is dropped.
pub struct Palisade {
    pub url: String,
    /// Where its manifest is, and whatever the test puts beside it.
    pub directory: tempfile::TempDir,
    process: Process,
    /// Where it is administered, if its manifest says so.
    pub admin: Option<Admin>,
    stop: Option<oneshot::Sender<()>>,
}

impl Palisade {
    /// Starts a gateway. In the manifest `{dir}` stands for its directory.
    pub async fn start(manifest: &str) -> Self {
        Self::with_files(manifest, &[]).await
    }

    /// Starts a gateway that has room for so many plugin instances.
    pub async fn with_instances(manifest: &str, instances: u32) -> Self {
        Self::begin(loader_of(instances), manifest, &[]).await
    }

    /// Starts a gateway with copies of files beside its manifest.
    pub async fn with_files(manifest: &str, files: &[(&str, PathBuf)]) -> Self {
        Self::begin(loader(), manifest, files).await
    }

    async fn begin(loader: Arc<Loader>, manifest: &str, files: &[(&str, PathBuf)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, from) in files {
            std::fs::copy(from, directory.path().join(name)).expect("a file to copy");
        }
        let file = directory.path().join("proxy.toml");
        let text = manifest.replace("{dir}", &directory.path().display().to_string());
        std::fs::write(&file, &text).expect("the manifest to be written");
        Self::of(loader, directory, file).await
    }

    /// Starts a gateway with the manifest that is there already.
    pub async fn at(file: &Path) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::of(loader(), directory, file.to_owned()).await
    }

    async fn of(loader: Arc<Loader>, directory: tempfile::TempDir, file: PathBuf) -> Self {
        let loaded = reload::load(&file).await;
        let ((manifest, components), start) =
            loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let at = manifest.admin.clone();
        let (running, _) = mpsc::channel(1);
        let builder = Builder::new(loader, running);
        let generation = builder.make(manifest, components).await;
        let clients = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", clients.local_addr().expect("an address"));
        let administrators = match &at {
            Some(at) => Some(Listener::bind(at).await.expect("a place for admin")),
            None => None,
        };
        let admin = administrators.as_ref().map(|at| at.address().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let wait = async {
            let _ = stopped.await;
        };
        let parts = Parts {
            manifest: file,
            generation: generation.unwrap_or_else(|problems| panic!("{problems}")),
            start,
            builder,
            clients,
            administrators,
        };
        Self {
            url,
            directory,
            process: Process::start(parts, wait).expect("a gateway"),
            admin,
            stop: Some(stop),
        }
    }

    /// What is wrong with a manifest and its plugins; none if nothing is.
    pub async fn problems(manifest: &str, variables: &[(&str, &str)]) -> Option<Problems> {
        Self::made(manifest, variables).await.err()
    }

    /// The generation that a manifest makes up, or what is wrong.
    pub async fn generation_of(manifest: &str) -> Result<Generation, Problems> {
        Self::made(manifest, &[]).await
    }

    async fn made(manifest: &str, variables: &[(&str, &str)]) -> Result<Generation, Problems> {
        let directory = tempfile::tempdir().expect("a directory");
        let environment = Environment::of(variables, directory.path());
        let file = directory.path().join("proxy.toml");
        let manifest = Manifest::parse(&file, manifest, &environment)?;
        let (running, _ended) = mpsc::channel(1);
        Builder::new(loader(), running).build(manifest).await
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The live generation.
    pub fn live(&self) -> Arc<Generation> {
        self.process.gateway.generation()
    }

    /// The number of the live generation.
    pub fn generation(&self) -> u64 {
        self.process.gateway.generation().number
    }

    /// Waits until a generation other than `number` is live. A plugin that is
    /// compiled for the first time steps back for exchanges, and those of other
    /// tests may leave it a twentieth of a core: that takes most of a minute.
    pub async fn reloaded(&self, number: u64) -> bool {
        for _ in 0..6000 {
            if self.generation() != number {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// What lives as long as it.
    pub fn gateway(&self) -> &Gateway {
        &self.process.gateway
    }

    /// What its reloader can be asked.
    pub fn control(&self) -> &Control {
        &self.process.control
    }

    /// Asks its listener for administrators, and answers the status and what
    /// came with it.
    pub async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = self
            .admin_request(method, path)
            .header("palisade-admin", "1");
        let response = request
            .body(body.to_owned())
            .send()
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    /// A request to its listener for administrators, with no header field that
    /// it wants. A path that begins with a slash is a whole one.
    pub fn admin_request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let (builder, base) = match self.admin.as_ref().expect("[admin]") {
            Admin::Unix(socket) => {
                let builder = reqwest::Client::builder().unix_socket(socket.as_path());
                (builder, "http://localhost".to_owned())
            }
            Admin::Tcp(address) => (reqwest::Client::builder(), format!("http://{address}")),
        };
        let client = builder.build().expect("a client");
        let method = method.parse().expect("a method");
        match path.strip_prefix('/') {
            Some(path) => client.request(method, format!("{base}/{path}")),
            None => client.request(method, format!("{base}/v1/{path}")),
        }
    }

    /// Asks it to reload, as a hangup signal does.
    pub fn reload(&self) {
        self.process.control.hangup();
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
        self.process.ended().await.expect("serving to end")
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
