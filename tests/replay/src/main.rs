//! `replay [--port PORT] [--with-parent] TRANSCRIPTS`: serves the transcripts
//! below a folder until it is killed, for tests that do not run in Rust.
//!
//! Its first line of output is `listening on 127.0.0.1:PORT`. With
//! `--with-parent` it stops when its standard input ends, so that a test
//! runner that holds the other end of a pipe is not outlived by it.

use std::io::Read;
use std::process::ExitCode;

use replay::Server;
use tokio::sync::oneshot;

const USAGE: &str = "usage: replay [--port PORT] [--with-parent] TRANSCRIPTS";

struct Arguments {
    port: u16,
    with_parent: bool,
    folder: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&format!("{error}\n{USAGE}"), 2),
    };
    let server = match Server::start_on(&arguments.folder, arguments.port).await {
        Ok(server) => server,
        Err(error) => return fail(&error.to_string(), 1),
    };
    println!("listening on {}", server.address());
    if arguments.with_parent {
        input_ends().await;
    } else {
        std::future::pending::<()>().await;
    }
    ExitCode::SUCCESS
}

fn read(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        port: 0,
        with_parent: false,
        folder: String::new(),
    };
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--port" => {
                let port = given.next().ok_or("--port: needs a number")?;
                arguments.port = port.parse().map_err(|error| format!("--port: {error}"))?;
            }
            "--with-parent" => arguments.with_parent = true,
            option if option.starts_with("--") => return Err(format!("{option}: unknown")),
            folder if arguments.folder.is_empty() => folder.clone_into(&mut arguments.folder),
            more => return Err(format!("{more}: one folder is enough")),
        }
    }
    if arguments.folder.is_empty() {
        return Err("the folder with the transcripts is missing".to_owned());
    }
    Ok(arguments)
}

/// Waits in a thread of its own: the runtime would wait for a read that is
/// under way before it lets the process end.
async fn input_ends() {
    let (ended, end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        while input.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
        drop(ended);
    });
    // The sender is dropped, never used.
    let _ = end.await;
}

fn fail(error: &str, code: u8) -> ExitCode {
    eprintln!("replay: {error}");
    ExitCode::from(code)
}
