//! The administrators' socket, and who is at its other end.
//!
//! A Unix socket is made in a directory that only its owner can enter, given
//! its mode there, and moved to its place: at no moment can another user open
//! it. One that a dead process left is replaced.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::manifest::Admin;

/// A connection of an administrator.
pub(super) type Stream = Box<dyn Connection>;

/// What a connection can do.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Why the gateway cannot be administered.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {at} for administrators (see `listen` in [admin])")]
pub struct BindError {
    at: Admin,
    source: io::Error,
}

/// A socket that administrators connect to. A Unix socket's file is removed
/// when this is dropped.
#[derive(Debug)]
pub struct Listener(Kind);

#[derive(Debug)]
enum Kind {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// If another process listens there, or the system says no.
    pub async fn bind(at: &Admin) -> Result<Self, BindError> {
        let bound = match at {
            Admin::Unix(path) => unix(path),
            Admin::Tcp(address) => TcpListener::bind(address).await.map(Kind::Tcp),
        };
        let failed = |source| BindError {
            at: at.clone(),
            source,
        };
        bound.map(Self).map_err(failed)
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> io::Result<Admin> {
        match &self.0 {
            Kind::Unix(_, file) => Ok(Admin::Unix(file.path.clone())),
            Kind::Tcp(listener) => listener.local_addr().map(Admin::Tcp),
        }
    }

    /// The next connection, and whose it is.
    pub(super) async fn accept(&self) -> io::Result<(Stream, String)> {
        match &self.0 {
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let who = format!("uid {}", stream.peer_cred()?.uid());
                Ok((Box::new(stream), who))
            }
            Kind::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Box::new(stream), peer.ip().to_string()))
            }
        }
    }
}

fn unix(path: &Path) -> io::Result<Kind> {
    make_way(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let private = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // In a container every process may have the number of the one that died.
    let _ = std::fs::remove_dir_all(&private);
    let mut builder = std::fs::DirBuilder::new();
    builder.mode(0o700).create(&private)?;
    let bound = within(&private, path);
    let _ = std::fs::remove_dir_all(&private);
    let listener = bound?;
    let file = SocketFile::of(path)?;
    Ok(Kind::Unix(listener, file))
}

fn within(private: &Path, path: &Path) -> io::Result<UnixListener> {
    let made = private.join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    Ok(listener)
}

/// Sees that nobody listens at a path, and that nothing else is there.
fn make_way(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.file_type().is_socket() {
        let what = "there is a file that is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => {
            let what = "another process listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, what))
        }
        // Its process is dead.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file of a socket, removed with it unless another has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
