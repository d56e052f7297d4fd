//! Running the blocks of a group as a reader would: in one bash, in a folder
//! that looks like the repository, with what `cargo run` would run.
//!
//! Only the ports differ, so that tests do not meet, and `cargo run` is
//! replaced by the program itself. All that a group starts is in one process
//! group, which ends with it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use palisade_tests::root;

use super::document::{Block, Step};

/// The ports that the document names.
const PORTS: [&str; 3] = ["8000", "8001", "8090"];

/// How long a group may take. Building a plugin for the first time takes a
/// minute on two cores.
const PATIENCE: Duration = Duration::from_secs(400);

/// Variables of whoever runs the tests that would change what is printed or
/// where things are built.
const NOT_OURS: [&str; 9] = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "CEREBRAS_API_KEY",
    "PALISADE_CONFIG",
    "PALISADE_LISTEN",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
];

/// A group that has been run.
pub struct Finished {
    directory: tempfile::TempDir,
    ports: Vec<(String, String)>,
}

/// Runs the blocks of a group; none without the tools that they call.
pub fn run(group: &str, blocks: &[Block]) -> Option<Finished> {
    for tool in ["bash", "curl"] {
        let found = Command::new(tool).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            println!("not run: the README's \"{group}\", which needs {tool}");
            return None;
        }
    }
    let finished = Finished {
        directory: tempfile::tempdir().expect("a directory"),
        ports: free_ports(),
    };
    finished.furnish();
    let script = finished.script(blocks);
    let mut command = Command::new("bash");
    command.args(["--noprofile", "--norc", "-c", &script]);
    command.current_dir(finished.path("."));
    for variable in NOT_OURS {
        command.env_remove(variable);
    }
    let shell = std::fs::File::create(finished.path("shell")).expect("a file");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(shell).process_group(0).spawn();
    let mut running = Running(child.expect("bash to start"));
    let late = running.wait().is_none();
    drop(running);
    let said = std::fs::read_to_string(finished.path("shell")).unwrap_or_default();
    assert!(!late, "\"{group}\" took longer than {PATIENCE:?}: {said}");
    Some(finished)
}

impl Finished {
    /// What a block printed.
    pub fn printed(&self, block: &Block) -> String {
        let file = self.path(&format!("printed-{}", block.line));
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// A text of the document with the ports of this run.
    pub fn with_ports(&self, text: &str) -> String {
        let replaced = |text: String, (from, to): &(String, String)| text.replace(from, to);
        self.ports.iter().fold(text.to_owned(), replaced)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts in place what the blocks expect of the repository.
    fn furnish(&self) {
        let root = root();
        for name in ["tests", "wit"] {
            std::os::unix::fs::symlink(root.join(name), self.path(name)).expect("a link");
        }
        let manifest = std::fs::read_to_string(root.join("proxy.toml")).expect("a manifest");
        std::fs::write(self.path("proxy.toml"), self.with_ports(&manifest)).expect("a file");
        std::fs::create_dir(self.path("target")).expect("a directory");
    }

    fn script(&self, blocks: &[Block]) -> String {
        // If the tests are killed, what they started ends all the same.
        let mut script = format!(
            "(while kill -0 {}; do sleep 1; done; kill -TERM 0) > /dev/null 2>&1 &\n",
            std::process::id()
        );
        for block in blocks {
            let text = self.with_ports(&block.text);
            let printed = format!("printed-{}", block.line);
            let written = match &block.step {
                Step::Run => writeln!(script, "{{\n{}}} > {printed} 2>&1", programs(&text)),
                Step::Serve => writeln!(
                    script,
                    "{{\n{}}} > {printed} 2>&1 &\n\
                     curl -s -o {printed}.up --retry 60 --retry-delay 1 --retry-connrefused \
                     http://127.0.0.1:{}/",
                    programs(&text),
                    self.with_ports(PORTS[0])
                ),
                Step::File(path) => {
                    script.push_str(&beside(path));
                    writeln!(script, "cat > {path} <<'END OF FILE'\n{text}END OF FILE")
                }
            };
            written.expect("a string takes all");
        }
        script
    }
}

/// What must be there before a file is: its folder and, for a package, what
/// saves its build from the network and from beginning anew each time.
fn beside(file: &str) -> String {
    let folder = Path::new(file).parent().unwrap_or(Path::new("."));
    let (folder, mut script) = (folder.display(), String::new());
    let _ = writeln!(script, "mkdir -p {folder}");
    if file.ends_with("Cargo.toml") {
        let lock = root().join("Cargo.lock");
        let program = palisade_tests::program("palisade");
        let directory = program.parent().expect("its folder");
        let target = directory.with_file_name("readme");
        let _ = writeln!(script, "cp '{}' {folder}/", lock.display());
        let _ = writeln!(script, "mkdir -p '{}'", target.display());
        let _ = writeln!(script, "ln -s '{}' {folder}/target", target.display());
    }
    script
}

/// The commands with programs in place of `cargo run`, and without building
/// them again.
fn programs(text: &str) -> String {
    let program = |name: &str| format!("'{}'", palisade_tests::program(name).display());
    let text = text
        .replace("cargo build -q -p replay", ":")
        .replace("cargo run -q -p replay --", &program("replay"))
        .replace("cargo run -q --", &program("palisade"));
    let line = |line: &str| match line {
        "cargo run" => program("palisade") + "\n",
        _ => format!("{line}\n"),
    };
    let text: String = text.lines().map(line).collect();
    assert!(!text.contains("cargo run"), "not known how to run: {text}");
    text
}

/// Free ports for those of the document.
fn free_ports() -> Vec<(String, String)> {
    // All are held at once, so that they differ.
    let held = PORTS.map(|port| (port, TcpListener::bind("127.0.0.1:0").expect("a port")));
    let free = held.iter().map(|(port, listener)| {
        let address = listener.local_addr().expect("an address");
        ((*port).to_owned(), address.port().to_string())
    });
    free.collect()
}

/// A shell and all that it started, ended when this is dropped.
struct Running(Child);

impl Running {
    /// Waits for the shell; none if its time is over.
    fn wait(&mut self) -> Option<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.0.try_wait().expect("a child").is_some() {
                return Some(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        for signal in ["-TERM", "-KILL"] {
            let mut kill = Command::new("kill");
            let sent = kill
                .args([signal, "--", &group])
                .stderr(Stdio::null())
                .status();
            if !sent.is_ok_and(|status| status.success()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let _ = self.0.wait();
    }
}
