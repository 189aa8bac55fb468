//! `run`: serves, by a file or by three arguments, until it is told to end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::DEFAULT_FILE;
use crate::cli::failure::Failure;
use crate::cli::validate::or_tell;
use crate::config::{self, Config, Problems};
use crate::server::{self, Options};

/// What to serve.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE, conflicts_with_all = ["listen", "to", "health"])]
    config: PathBuf,
    /// Without a file: where to listen, such as :8080
    #[arg(long, value_name = "ADDRESS", requires = "to")]
    listen: Option<String>,
    /// Without a file: the endpoints, such as a:3000,b:3000
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',', requires = "listen")]
    to: Vec<String>,
    /// Without a file: the path that tells whether an endpoint is well; without it only traffic does
    #[arg(long, value_name = "PATH", requires = "listen")]
    health: Option<String>,
}

impl Run {
    /// Serves until it is told to end.
    ///
    /// # Errors
    /// If it cannot start.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let Some(options) = or_tell(self.options()) else { return Ok(ExitCode::FAILURE) };
        server::run(options).map_err(|fatal| Failure::new(fatal.to_string()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn options(&self) -> Result<Options, Problems> {
        match &self.listen {
            Some(listen) => {
                let config = config::quick(listen, &self.to, self.health.as_deref())?;
                Ok(Options { config, source: None })
            }
            None => Ok(Options { config: load(&self.config)?, source: Some(self.config.clone()) }),
        }
    }
}

/// Loads a file and tells its warnings.
pub(super) fn load(file: &Path) -> Result<Config, Problems> {
    let loaded = config::load(file)?;
    for warning in &loaded.warnings {
        eprintln!("{warning} (warning)");
    }
    Ok(loaded.config)
}
