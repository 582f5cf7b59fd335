//! `manuals FOLDER`: writes the man pages of both programs, from the definitions of their command lines.
//! The text of an option stands with the option; only what belongs to none is here.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use plimsoll_control::cli::Cli;
use plimsoll_control::config::file::DEFAULT_SOCKET;
use plimsoll_control::daemon;

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).map(PathBuf::from).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "which folder? manuals FOLDER")
    })?;
    fs::create_dir_all(&folder)?;
    // `help` explains a page that is here itself.
    let mut client = Cli::command().disable_help_subcommand(true);
    client.build();
    clients(&client, &folder)?;
    page(daemon::Args::command(), "8", &folder, of_the_daemon)
}

/// The page of a command and those of its subcommands.
fn clients(command: &Command, folder: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands() {
        if !subcommand.is_hide_set() {
            clients(subcommand, folder)?;
        }
    }
    page(command.clone(), "1", folder, of_the_command)
}

fn page(command: Command, section: &str, folder: &Path, more: fn(&mut Roff)) -> io::Result<()> {
    let man = Man::new(command)
        .section(section)
        .source(concat!("plimsoll ", env!("CARGO_PKG_VERSION")))
        .manual("Plimsoll");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut roff = Roff::new();
    more(&mut roff);
    roff.to_writer(&mut text)?;
    fs::write(folder.join(man.get_filename()), text)
}

fn of_the_command(roff: &mut Roff) {
    heading(roff, "FILES");
    entry(roff, DEFAULT_SOCKET, "The daemon's control socket.");
    heading(roff, "SEE ALSO");
    roff.text([
        bold("plimsoll"),
        roman("(1), "),
        bold("plimsolld"),
        roman("(8)"),
    ]);
}

fn of_the_daemon(roff: &mut Roff) {
    heading(roff, "SIGNALS");
    entry(
        roff,
        "SIGHUP",
        "Reads the configuration again: all of it is applied or, if anything is wrong, nothing.",
    );
    entry(roff, "SIGTERM, SIGINT", "Stops forwarding and ends.");
    heading(roff, "EXIT STATUS");
    entry(roff, "0", "It was told to stop.");
    entry(
        roff,
        "1",
        "It could not start, or could not go on; the log says why.",
    );
    entry(roff, "2", "The command line is wrong.");
    entry(
        roff,
        "3",
        "The configuration is invalid; no port was opened.",
    );
    heading(roff, "FILES");
    entry(
        roff,
        "/etc/plimsoll/plimsoll.yaml",
        "The configuration that the service runs with.",
    );
    entry(
        roff,
        "/usr/share/doc/plimsoll/examples/reference.yaml",
        "Every key of a configuration, with its meaning and its default.",
    );
    entry(
        roff,
        "/usr/share/plimsoll/schema.json",
        "The JSON Schema of a configuration, for editors.",
    );
    entry(roff, DEFAULT_SOCKET, "The control socket.");
    heading(roff, "SEE ALSO");
    roff.text([bold("plimsoll"), roman("(1)")]);
}

fn heading(roff: &mut Roff, name: &str) {
    roff.control("SH", [name]);
}

/// One word and what it means.
fn entry(roff: &mut Roff, word: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(word)]);
    roff.text([roman(meaning)]);
}
