//! `dripctl`: the parser of the command line, and what runs without a daemon. Every other command
//! talks to the daemon through the slices' own clients.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

mod account;
mod admin;
mod context;
#[cfg(feature = "demo")]
mod demo;
mod memory;
#[cfg(feature = "trajectory")]
mod own_log;
mod serve;
mod settings;
mod status;

use crate::kernel::cli::{Output, report};
use crate::kernel::error::{Error, Kind, Result};
use crate::kernel::script;
use context::Context;

/// Carries an algorithm through its whole life on one machine.
#[derive(Parser)]
#[command(name = "dripctl", version, about, max_term_width = 100)]
struct Arguments {
    /// The daemon's address, such as http://127.0.0.1:22315
    #[arg(long, env = "DRIP_URL", global = true, hide_env_values = true)]
    url: Option<String>,
    /// An API token to show the daemon
    #[arg(long, env = "DRIP_TOKEN", global = true, hide_env_values = true)]
    token: Option<String>,
    /// Answer in JSON, for machines
    #[arg(long, global = true)]
    json: bool,
    /// The settings; without it `drip.toml` here, if there is one
    #[arg(long, env = "DRIP_CONFIG", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon until it is stopped
    #[command(alias = "start-webui")]
    Serve(serve::Serve),
    /// Make an admin account or give it a new password, with the daemon stopped
    CreateAdmin(admin::CreateAdmin),
    /// Sign in, and keep the token for this address
    Login(account::Login),
    /// Forget the token for this address, here and at the daemon
    Logout,
    /// One algorithm's whole life on real wind turbines, as a story
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    /// What the daemon is and has
    Status,
    /// Datasets and feature operators
    #[cfg(feature = "atom")]
    #[command(subcommand)]
    Atom(crate::atom::cli::Command),
    /// Artifacts and packages
    #[cfg(feature = "cask")]
    #[command(subcommand)]
    Cask(crate::cask::cli::Command),
    /// Data channels, quotas and usage
    #[cfg(feature = "dashare")]
    #[command(subcommand)]
    Dashare(crate::dashare::cli::Command),
    /// Cards
    #[cfg(feature = "fiche")]
    #[command(subcommand)]
    Fiche(crate::fiche::cli::Command),
    /// Pipelines, runs and schedules
    #[cfg(feature = "liquid")]
    #[command(subcommand)]
    Liquid(crate::liquid::cli::Command),
    /// Logs
    #[cfg(feature = "trajectory")]
    #[command(subcommand)]
    Trajectory(crate::trajectory::cli::Command),
    /// The settings: show, sample, import
    #[command(subcommand)]
    Config(settings::Command),
    /// Accounts
    #[command(subcommand)]
    User(account::UserCommand),
    /// API tokens
    #[command(subcommand)]
    Token(account::TokenCommand),
    /// Keep one process of a pipeline: started by the daemon alone
    #[cfg(feature = "liquid")]
    #[command(name = crate::liquid::process::KEEPER, hide = true)]
    KeepProcess,
    /// Completions for a shell, to be put where it looks for them
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line, does what it says, and answers the exit code.
pub fn main() -> ExitCode {
    memory::keep_together();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no failures; clap knows which is which.
            let _terminal_gone = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // It has no settings and no runtime: it is one process's keeper and nothing else.
    #[cfg(feature = "liquid")]
    if matches!(arguments.command, Command::KeepProcess) {
        return ExitCode::from(crate::liquid::process::keep());
    }
    let json = arguments.json;
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(report(&error, json)),
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let Arguments { url, token, json, config, command } = arguments;
    let context = Context { url, token, config, out: Output::new(json) };
    let runtime = runtime()?;
    match command {
        Command::Serve(serve) => runtime.block_on(serve::run(serve, &context)),
        Command::CreateAdmin(create) => admin::run(create, &context),
        Command::Login(login) => runtime.block_on(account::login(login, &context)),
        Command::Logout => runtime.block_on(account::logout(&context)),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => runtime.block_on(demo::run(demo, &context)),
        #[cfg(feature = "atom")]
        Command::Atom(command) => {
            runtime.block_on(crate::atom::cli::run(command, &context.client()?, context.out))
        }
        #[cfg(feature = "cask")]
        Command::Cask(command) => {
            runtime.block_on(crate::cask::cli::run(command, &context.client()?, context.out))
        }
        #[cfg(feature = "dashare")]
        Command::Dashare(command) => {
            runtime.block_on(crate::dashare::cli::run(command, &context.client()?, context.out))
        }
        #[cfg(feature = "fiche")]
        Command::Fiche(command) => {
            runtime.block_on(crate::fiche::cli::run(command, &context.client()?, context.out))
        }
        #[cfg(feature = "liquid")]
        Command::Liquid(command) => {
            runtime.block_on(crate::liquid::cli::run(command, &context.client()?, context.out))
        }
        #[cfg(feature = "trajectory")]
        Command::Trajectory(command) => {
            runtime.block_on(crate::trajectory::cli::run(command, &context.client()?, context.out))
        }
        Command::Status => runtime.block_on(status::run(&context)),
        Command::Config(command) => settings::run(command, &context),
        Command::User(command) => runtime.block_on(account::users(command, &context)),
        Command::Token(command) => runtime.block_on(account::tokens(command, &context)),
        Command::Completions { shell } => completions(shell),
        #[cfg(feature = "liquid")]
        Command::KeepProcess => Ok(()),
    }
}

/// Scripts run on the runtime's threads: their stacks are as deep as a fenced script may need.
fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).min(8))
        .max_blocking_threads(64)
        .thread_stack_size(script::BIG_STACK)
        .on_thread_start(script::mark_big_stack)
        .enable_all()
        .build()
        .map_err(|source| Error::io("start the runtime", source))
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "dripctl", &mut text);
    let text = String::from_utf8(text)
        .map_err(|source| Error::new(Kind::Internal, "bad_completions", source.to_string()))?;
    Output::new(false).line(text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
