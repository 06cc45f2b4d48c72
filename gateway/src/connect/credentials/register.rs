//! The credentials of the process: each is opened once, whoever asks for it.
//!
//! Routes to both of Apple's environments, and several routes of one Firebase project, share a token:
//! two tasks for one key would make two, and Apple would refuse both as too many.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use tokio::task::JoinSet;

use super::{
    Access, AccessError, AccountSpec, Certificate, CertificateError, CertificateSpec, KeyName,
    Provider, ProviderError, Source,
};
use crate::clock::Clock;
use crate::stop::Stop;

/// A credential's task, by its name.
type Task = (String, Box<dyn FnOnce(Stop) -> Running + Send>);
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The credentials that routes have asked for, before their tasks run. As many as routes at most.
pub struct Credentials {
    data: PathBuf,
    clock: Clock,
    providers: BTreeMap<KeyName, (Source, Provider)>,
    accounts: Vec<(AccountSpec, Access)>,
    tasks: Vec<Task>,
}

impl Credentials {
    /// None yet. Provider tokens are kept in `data`, the data directory.
    #[must_use]
    pub fn new(data: PathBuf, clock: Clock) -> Self {
        Self {
            data,
            clock,
            providers: BTreeMap::new(),
            accounts: Vec::new(),
            tasks: Vec::new(),
        }
    }

    /// The provider tokens of a team's key: for all who name it the same. Blocks for small files.
    ///
    /// # Errors
    /// [`ProviderError`]; also when the key was asked for with another file before.
    pub fn provider(&mut self, name: KeyName, source: Source) -> Result<Provider, ProviderError> {
        if let Some((first, provider)) = self.providers.get(&name) {
            return match *first == source {
                true => Ok(provider.clone()),
                false => Err(ProviderError::Twice(name)),
            };
        }
        let opened = Provider::open(name.clone(), source.clone(), &self.data, &self.clock)?;
        let (provider, task) = opened;
        self.task(format!("provider token {name}"), |stop| task.run(stop));
        self.providers.insert(name, (source, provider.clone()));
        Ok(provider)
    }

    /// The access tokens of a service account: for all who name its file, or another file of the same
    /// account, the same. Blocks for a small file.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn account(&mut self, spec: AccountSpec) -> Result<Access, AccessError> {
        let (access, task) = Access::open(spec.clone(), &self.clock)?;
        let same = |(first, other): &&(AccountSpec, Access)| {
            other.client_email() == access.client_email() && first.token_url == spec.token_url
        };
        if let Some((first, access)) = self.accounts.iter().find(same) {
            if first.source != spec.source {
                tracing::warn!(
                    route = spec.name,
                    like = first.name,
                    "both routes have the same service account in different files: the tokens are those \
                     of {}, and a change of {} is not noticed",
                    first.source,
                    spec.source
                );
            }
            return Ok(access.clone());
        }
        self.task(format!("access token {}", spec.name), |stop| task.run(stop));
        self.accounts.push((spec, access.clone()));
        Ok(access)
    }

    /// A route's certificate. Blocks for small files.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn certificate(&mut self, spec: CertificateSpec) -> Result<Certificate, CertificateError> {
        let name = format!("certificate {}", spec.route);
        let (certificate, task) = Certificate::open(spec, &self.clock)?;
        self.task(name, |stop| task.run(stop));
        Ok(certificate)
    }

    fn task<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        name: String,
        run: impl FnOnce(Stop) -> F + Send + 'static,
    ) {
        self.tasks
            .push((name, Box::new(move |stop| Box::pin(run(stop)))));
    }

    /// Runs all tasks until the stop.
    pub async fn run(self, stop: Stop) {
        let mut running = JoinSet::new();
        let mut names = BTreeMap::new();
        for (name, task) in self.tasks {
            names.insert(running.spawn(task(stop.clone())).id(), name);
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                let name = names.get(&error.id()).map_or("", String::as_str);
                tracing::error!(
                    %error, name,
                    "the task of a push credential ended by a fault: it is renewed no more; restart"
                );
                metrics::counter!("trunkline_push_credential_alarms_total",
                    "credential" => name.to_owned(), "alarm" => "panic")
                .increment(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMs;
    use crate::connect::credentials::tests::{account, key_pem, name};
    use crate::stop::Stopper;
    use crate::store::tests::TempDir;

    fn file(dir: &TempDir, name: &str, text: &str) -> Source {
        let path = dir.0.join(name);
        std::fs::write(&path, text).unwrap();
        Source::File(path)
    }

    fn register(dir: &TempDir) -> Credentials {
        let clock = Clock::manual(UnixMs(1_800_000_000_000));
        Credentials::new(dir.0.clone(), clock)
    }

    #[test]
    fn routes_to_both_environments_share_a_token_and_no_second_file_makes_another() {
        let dir = TempDir::new();
        let mut all = register(&dir);
        let key = file(&dir, "key", &key_pem());
        let production = all.provider(name(), key.clone()).unwrap();
        let sandbox = all.provider(name(), key).unwrap();
        assert_eq!(production.state(), sandbox.state());
        assert_eq!(all.tasks.len(), 1);
        let other = file(&dir, "other", &key_pem());
        let error = all.provider(name(), other).unwrap_err();
        assert!(matches!(error, ProviderError::Twice(_)), "{error}");
    }

    #[test]
    fn one_account_is_asked_for_once_in_however_many_files_it_stands() {
        let dir = TempDir::new();
        let mut all = register(&dir);
        let google = "https://oauth2.googleapis.com/token";
        let shop = account("shop-1", "one", google);
        let spec = |name: &str, source: &Source| AccountSpec {
            name: name.to_owned(),
            source: source.clone(),
            token_url: None,
            extra_roots: Vec::new(),
        };
        let first = file(&dir, "a.json", &shop);
        all.account(spec("a", &first)).unwrap();
        all.account(spec("b", &first)).unwrap();
        all.account(spec("c", &file(&dir, "c.json", &shop)))
            .unwrap();
        assert_eq!(all.tasks.len(), 1);
        let other = shop.replace("push@shop.example", "push@other.example");
        all.account(spec("d", &file(&dir, "d.json", &other)))
            .unwrap();
        assert_eq!(all.tasks.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn all_tasks_end_with_the_gateway() {
        let dir = TempDir::new();
        let mut all = register(&dir);
        let key = file(&dir, "key", &key_pem());
        all.provider(name(), key).unwrap();
        let (stopper, stop) = Stopper::new();
        let running = tokio::spawn(all.run(stop));
        stopper.stop();
        running.await.unwrap();
    }
}
