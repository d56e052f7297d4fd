//! The binary, as a test runner in another language starts it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn the_first_line_tells_the_address_and_the_end_of_input_ends_it() {
    let mut replay = Command::new(env!("CARGO_BIN_EXE_replay"))
        .args([
            "--with-parent",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../transcripts"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(replay.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim_end().strip_prefix("listening on ").unwrap();
    std::net::TcpStream::connect(address).unwrap();
    drop(replay.stdin.take());
    assert!(replay.wait().unwrap().success());
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    for (arguments, words) in [
        (&[][..], "folder with the transcripts is missing"),
        (&["--port", "x", "."], "--port: invalid digit"),
        (&["--prot", "1"], "--prot: unknown"),
        (&["/nowhere"], "/nowhere/openai: No such file"),
    ] {
        let replay = Command::new(env!("CARGO_BIN_EXE_replay"))
            .args(arguments)
            .output()
            .unwrap();
        let error = String::from_utf8(replay.stderr).unwrap();
        assert!(!replay.status.success() && error.contains(words), "{error}");
    }
}
