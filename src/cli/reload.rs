//! SIGHUP: the sources of the settings are read again, and what can change at run time does, or nothing.
//!
//! Promises: a reload is refused as a whole when anything in the sources or in a file that they name is
//! wrong, and each thing wrong is logged with its place, as `metricstream check` says it. What was put in
//! force is named, and so are the settings that changed and take a restart: these go on being named until
//! the restart. Requests are answered meanwhile.
//! Leaves to the caller: when.

use clap::ArgMatches;
use tracing_subscriber::EnvFilter;

use super::settings::{self, Checked, SettingsArgs};
use crate::app::App;
use crate::config::sources::{Changes, Effective};

/// Replaces the filter of the log messages.
pub type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), String>>;

/// What a reload needs to know of the start.
pub struct Reloader<'a> {
    args: &'a SettingsArgs,
    matches: &'a ArgMatches,
    set_filter: SetFilter,
    /// The settings in force.
    in_force: Vec<Effective>,
}

impl<'a> Reloader<'a> {
    /// A reloader of a server that was started with `in_force`.
    #[must_use]
    pub fn new(
        args: &'a SettingsArgs,
        matches: &'a ArgMatches,
        set_filter: SetFilter,
        in_force: Vec<Effective>,
    ) -> Self {
        Self {
            args,
            matches,
            set_filter,
            in_force,
        }
    }

    /// Reloads, and logs how it went. Answers with whether it did.
    pub fn reload(&mut self, app: &App) -> bool {
        match self.try_reload(app) {
            Ok(Changes { reloaded, restart }) => {
                let tokens = app.shared().rules.get().admission.authenticator.tokens();
                let alerts = app.shared().watch.lock().alerts().len();
                tracing::info!(changed = list(&reloaded), tokens, alerts, "reloaded");
                if !restart.is_empty() {
                    tracing::warn!(
                        settings = list(&restart),
                        "these settings changed and take a restart; they are as they were"
                    );
                }
                true
            }
            Err(problems) => {
                for problem in problems {
                    tracing::error!(%problem, "the reload is refused; everything is as it was");
                }
                false
            }
        }
    }

    fn try_reload(&mut self, app: &App) -> Result<Changes, Vec<String>> {
        let Checked {
            merged,
            config,
            filter,
        } = settings::load(self.args, self.matches)?;
        app.reload(&config).map_err(|error| vec![error.to_string()])?;
        // Fails only when the subscriber is gone, and then there is no one to filter for.
        if let Err(error) = (self.set_filter)(filter) {
            tracing::error!(error, "the filter of the log messages is as it was");
        }
        let changes = Changes::between(&self.in_force, &merged.effective);
        for (in_force, next) in self.in_force.iter_mut().zip(merged.effective) {
            if next.entry.is_reloadable() {
                *in_force = next;
            }
        }
        Ok(changes)
    }
}

impl std::fmt::Debug for Reloader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}
