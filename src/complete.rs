//! `gitseal completions` and `gitseal man`: out of the definitions in `cli.rs`.

use std::{fs, io, path::Path};

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use gitseal_terminal as terminal;

pub fn completions(arguments: &CompletionsArgs) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "gitseal", &mut script);
    crate::exit::written(terminal::print_bytes(&script))
}

pub fn man(arguments: &ManArgs) -> u8 {
    let Some(directory) = &arguments.directory else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
        return crate::exit::written(rendered.and_then(|()| terminal::print_bytes(&page)));
    };
    match pages(directory) {
        Ok(()) => 0,
        Err(error) => {
            terminal::error(
                &format!(
                    "cannot write the manual pages to {}: {error}",
                    directory.display()
                ),
                None,
            );
            2
        }
    }
}

/// Writes `gitseal.1` and a page for each command.
fn pages(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Cli::command(), directory)
}
