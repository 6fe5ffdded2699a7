//! One answer for each route.
//!
//! *Invariant:* an answer is made from one generation. Nothing here reaches the network; only a [`Puller`] asks for packages.
//!
//! [`Puller`]: crate::ops::pull::Puller

use std::{sync::Arc, time::Duration};

use hyper::{Response, StatusCode};
use serde_json::json;

use super::{
    Server, client,
    metrics::State,
    missing::Asker,
    refusal::{HttpRefusal, Kind},
    reply::{self, Asked, Body, PackageReply},
    route::{LogoSize, Query, Route},
};
use crate::{
    diagnostic::Chain,
    index::Blob,
    json::field,
    mirror::{Asking, Coded, Generation, ServedPackage, ServedPlugin, ServedRelease},
    model::{Platform, PluginId, Sha256Digest},
    ops::{
        pull::{PullError, PullFault, PulledPackage},
        serving::age,
    },
};

pub(super) type Answer = Result<Response<Body>, HttpRefusal>;

/// How a mirror may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Readiness {
    Ready,
    /// It serves what it has, but something is wrong.
    Degraded,
    NotReady,
}

impl Server {
    /// Answers a request that may be answered.
    pub(super) async fn answer(
        &self,
        asked: Asked<'_>,
        (channel, route): (Option<&str>, &Route),
        query: &Query,
    ) -> Answer {
        let generation = self.generation(channel)?;
        let asking = client::asking(asked);
        let json = |coded: &Coded| Ok(reply::json(asked, coded));
        match route {
            Route::List => {
                let with_deprecated = query.is_on("includeDeprecated");
                match query.list("slugIn") {
                    Some(names) => json(&generation.list_of(names.into_iter(), with_deprecated)),
                    None => json(generation.list(with_deprecated)),
                }
            }
            Route::Detail(name) => {
                let (at, plugin) = found(&generation, name)?;
                let release = match query.get("version").filter(|version| !version.is_empty()) {
                    Some(version) => Some(chosen(plugin, version, &asking, None)?),
                    None if plugin.releases.is_empty() || plugin.is_withdrawn => return Err(unserved(plugin)),
                    None => None,
                };
                json(&generation.detail(at, release))
            }
            Route::Versions(name) => {
                let (at, plugin) = found(&generation, name)?;
                json(&generation.versions(at, &asking).ok_or_else(|| unserved(plugin))?)
            }
            Route::Version(name, version) => {
                let (at, plugin) = found(&generation, name)?;
                let release = chosen(plugin, version, &asking, client::platform(asked).as_ref())?;
                json(&generation.version(at, release, &asking))
            }
            Route::Repo(name) => {
                let (at, plugin) = found(&generation, name)?;
                let platform = client::platform(asked);
                let entry = generation.repo(at, &asking, platform.as_ref());
                json(&entry.ok_or_else(|| nothing_fits(plugin, &asking, platform.as_ref()))?)
            }
            Route::RepoList => json(&generation.repo_list(&asking, client::platform(asked).as_ref())),
            Route::VersionCheck => Ok(version_check(asked, query, &generation)),
            Route::Keys => json(&self.keys),
            Route::AngularPatterns => json(&Coded::new("[]")),
            Route::Dashboards => json(&Coded::from_json(&json!({ "items": [], "page": 1, "pages": 1, "total": 0 }))),
            Route::Insights(name) => Err(HttpRefusal::not_found(format!("this mirror has no insights on {name}"))),
            Route::Entitlement(name) => {
                let (_, plugin) = found(&generation, name)?;
                if plugin.is_listed() { json(&Coded::new("{}")) } else { Err(unserved(plugin)) }
            }
            Route::Download(name, version) => self.download(asked, query, channel, (name, version)).await,
            Route::Logo { plugin, version, size } => self.logo(asked, &generation, (plugin, version), *size).await,
            Route::Image { plugin, version, path } => self.image(asked, &generation, (plugin, version), path).await,
            Route::Elsewhere => {
                Err(HttpRefusal::not_found("this is a mirror of plugins: it has nothing else of grafana.com's API"))
            }
            Route::Health | Route::Ready | Route::Metrics => self.operation(asked, route).await,
            Route::Page(page) => self.page(asked, channel, page, query).await,
            Route::Asset(name) => Self::asset(asked, name),
            Route::Malformed => Err(HttpRefusal::new(Kind::BadRequest, "the path cannot be read")),
            Route::Publish { .. } | Route::Unknown => Err(HttpRefusal::not_found("there is nothing at this path")),
        }
    }

    /// Returns what is served now, of a channel if one is named.
    fn generation(&self, channel: Option<&str>) -> Result<Arc<Generation>, HttpRefusal> {
        let Some(name) = channel else { return Ok(self.serving.generation()) };
        let shown: String = name.chars().take(40).collect();
        self.serving.channel(name).ok_or_else(|| HttpRefusal::not_found(format!("This mirror has no channel {shown}")))
    }

    async fn download(
        &self,
        asked: Asked<'_>,
        query: &Query,
        channel: Option<&str>,
        (name, version): (&str, &str),
    ) -> Answer {
        let sought = self.find_package(asked, query, channel, (name, version)).await;
        if let Err(refusal) = &sought
            && refusal.status() == StatusCode::NOT_FOUND
        {
            let generation = self.generation(channel)?;
            let known = generation.plugin(name).map(|(_, plugin)| plugin);
            self.metrics.count_missing(known.map_or("unknown", |plugin| plugin.plugin.id.as_str()));
            match known {
                Some(plugin) => self.log_missing(asked, query, plugin, version),
                None => self.missing.count_unknown(),
            }
        }
        sought.map(|sent| reply::package(asked, sent))
    }

    /// Keeps who asked for a package that is not here.
    fn log_missing(&self, asked: Asked<'_>, query: &Query, plugin: &ServedPlugin, version: &str) {
        let platform = client::platform(asked).or_else(|| client::platform_of(query.get("os"), query.get("arch")));
        let grafana = client::asking(asked);
        let client = Asker { client: client::kind(asked), grafana: &grafana, peer: asked.peer.ip() };
        self.missing.count(plugin, (version, platform), client, self.serving.context().now());
    }

    async fn find_package(
        &self,
        asked: Asked<'_>,
        query: &Query,
        channel: Option<&str>,
        named: (&str, &str),
    ) -> Result<PackageReply, HttpRefusal> {
        let generation = self.generation(channel)?;
        let located = locate(asked, query, &generation, named)?;
        match (located.package.stored, &self.puller) {
            (Some(digest), _) => self.send(&located, digest, named.1).await,
            (None, None) => Err(located.not_stored()),
            (None, Some(puller)) => {
                puller.pull(located.name()).await.map_err(|error| not_pulled(&error))?;
                // The policy decides again: only the package itself says who signed it.
                let generation = self.generation(channel)?;
                let located = locate(asked, query, &generation, named)?;
                let digest = located.package.stored.ok_or_else(|| located.not_stored())?;
                self.send(&located, digest, named.1).await
            }
        }
    }

    async fn send(
        &self,
        located: &Located<'_>,
        digest: Sha256Digest,
        version: &str,
    ) -> Result<PackageReply, HttpRefusal> {
        let Located { plugin, release, platform: key, package } = located;
        let opened = self.serving.context().store().open(digest).await;
        let opened = opened.map_err(|error| {
            tracing::warn!(error = %Chain(&error), "the store cannot be read");
            HttpRefusal::new(Kind::Unavailable, "the store of this mirror cannot be read now")
        })?;
        let Some(opened) = opened.filter(|opened| package.size.is_none_or(|size| size == opened.size)) else {
            self.serving.mark_damaged(digest);
            return Err(HttpRefusal::new(Kind::Unavailable, "the package is missing from the store, or damaged"));
        };
        let (id, exact) = (&plugin.plugin.id, &release.version);
        let is_only_any = key.is_any() && release.packages.as_ref().is_some_and(|packages| packages.len() == 1);
        Ok(PackageReply {
            package: opened,
            digest,
            file_name: format!("{id}-{exact}.{key}.zip"),
            content_location: (version == "latest").then(|| format!("../{exact}/download")),
            varies: version == "latest" || !is_only_any,
            is_public: self.guards.guarded == super::Guarded::Nothing,
        })
    }

    pub(super) async fn logo(
        &self,
        asked: Asked<'_>,
        generation: &Arc<Generation>,
        (name, version): (&str, &str),
        size: LogoSize,
    ) -> Answer {
        let (_, plugin) = found(generation, name)?;
        let release = chosen(plugin, version, &Asking::Anyone, None)?;
        let size = if size == LogoSize::Small { "small" } else { "large" };
        let plugin_json = release.plugin_json.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let plugin_json: serde_json::Value = plugin_json.unwrap_or_default();
        let logos = field(&plugin_json, "info").and_then(|info| field(info, "logos"));
        let path = logos.and_then(|logos| field(logos, size)).and_then(serde_json::Value::as_str);
        let path = path.ok_or_else(|| no_image(plugin, release))?;
        self.image_of(asked, plugin, release, path).await
    }

    async fn image(
        &self,
        asked: Asked<'_>,
        generation: &Arc<Generation>,
        (name, version): (&str, &str),
        path: &str,
    ) -> Answer {
        let (_, plugin) = found(generation, name)?;
        let release = chosen(plugin, version, &Asking::Anyone, None)?;
        self.image_of(asked, plugin, release, path).await
    }

    async fn image_of(&self, asked: Asked<'_>, plugin: &ServedPlugin, release: &ServedRelease, path: &str) -> Answer {
        let blob = a_package(&plugin.plugin.id, release).ok_or_else(|| no_image(plugin, release))?;
        let file = self.files.image(self.serving.context(), blob, path).await;
        let file = file.ok_or_else(|| no_image(plugin, release))?;
        Ok(reply::image(asked, &file))
    }

    /// Answers what the operator of the mirror asks.
    pub(super) async fn operation(&self, asked: Asked<'_>, route: &Route) -> Answer {
        let json = "application/json; charset=utf-8";
        match route {
            Route::Health => Ok(reply::text(asked, StatusCode::OK, json, json!({ "status": "ok" }).to_string())),
            Route::Ready => {
                let (readiness, document) = self.readiness().await;
                let is_usable = readiness != Readiness::NotReady;
                let status = if is_usable { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                Ok(reply::text(asked, status, json, document.to_string()))
            }
            Route::Metrics => {
                let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                Ok(reply::text(asked, StatusCode::OK, media_type, self.metrics.text(&self.state())))
            }
            _ => Err(HttpRefusal::not_found("there is nothing at this path")),
        }
    }

    async fn readiness(&self) -> (Readiness, serde_json::Value) {
        let generation = self.serving.generation();
        let counts = generation.counts();
        let age = age(&generation, self.serving.context().now());
        let mut reasons = Vec::new();
        let mut readiness = Readiness::Ready;
        if let Err(error) = self.serving.context().store().free_space().await {
            readiness = Readiness::Degraded;
            reasons.push(Chain(&error).to_string());
        }
        if let Some(fault) = self.serving.fault() {
            readiness = Readiness::Degraded;
            reasons.push(fault);
        }
        if self.serving.damaged_count() > 0 {
            readiness = Readiness::Degraded;
            reasons.push(format!("{} packages are damaged: see `plugport doctor`", self.serving.damaged_count()));
        }
        match age {
            None => {
                readiness = Readiness::NotReady;
                reasons.push("there is no catalog yet: run `plugport sync`".to_owned());
            }
            Some(age) if self.max_age.is_some_and(|limit| age > limit) => {
                readiness = Readiness::NotReady;
                reasons.push("the catalog is older than `--max-age`".to_owned());
            }
            Some(_) => {}
        }
        let status = match readiness {
            Readiness::Ready => "ready",
            Readiness::Degraded => "degraded",
            Readiness::NotReady => "not ready",
        };
        let document = json!({
            "status": status, "reasons": reasons, "generation": generation.id(),
            "age_seconds": age.map(|age| age.as_secs()),
            "synced_at": generation.synced_at.map(|time| time.to_string()),
            "plugins": counts.plugins, "versions": counts.versions, "packages": counts.packages,
            "not_listed": { "unsigned": counts.unsigned, "alerts": counts.alerted, "too_new": counts.too_new },
        });
        (readiness, document)
    }

    fn state(&self) -> State {
        let generation = self.serving.generation();
        let counts = generation.counts();
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        State {
            age_seconds: age(&generation, self.serving.context().now()).map_or(-1, seconds),
            synced_seconds: generation.synced_at.map_or(0, |time| time.as_milliseconds() / 1_000),
            plugins: counts.plugins,
            versions: counts.versions,
            packages: counts.packages,
            store_bytes: self.serving.stored_bytes(),
            damaged: self.serving.damaged_count(),
            generation: generation.id().to_owned(),
        }
    }
}

/// A package of a generation, in the store or not.
struct Located<'a> {
    plugin: &'a ServedPlugin,
    release: &'a ServedRelease,
    platform: &'a Platform,
    package: &'a ServedPackage,
}

impl Located<'_> {
    fn name(&self) -> PulledPackage {
        (self.plugin.plugin.id.clone(), self.release.version.clone(), self.platform.clone())
    }

    fn not_stored(&self) -> HttpRefusal {
        let (id, version) = (&self.plugin.plugin.id, &self.release.version);
        let platform = if self.platform.is_any() { String::new() } else { format!(" --platform {}", self.platform) };
        HttpRefusal::not_found(format!(
            "The package of {id} {version} is not stored here: run `plugport fetch {id}@{version}{platform}`"
        ))
    }
}

/// Finds the package that is asked for: by the headers, else by the query, else by what there is.
fn locate<'a>(
    asked: Asked<'_>,
    query: &Query,
    generation: &'a Generation,
    (name, version): (&str, &str),
) -> Result<Located<'a>, HttpRefusal> {
    let (_, plugin) = found(generation, name)?;
    let platform = client::platform(asked).or_else(|| client::platform_of(query.get("os"), query.get("arch")));
    let release = chosen(plugin, version, &client::asking(asked), platform.as_ref())?;
    let package = release.package(platform.as_ref());
    let (key, package) = package.ok_or_else(|| other_platform(plugin, release, platform.as_ref()))?;
    Ok(Located { plugin, release, platform: key, package })
}

fn version_check(asked: Asked<'_>, query: &Query, generation: &Generation) -> Response<Body> {
    let asking = match query.get("grafanaVersion") {
        Some(version) => Asking::parse(Some(version)),
        None => client::asking(asked),
    };
    let names = query.list("slugIn").unwrap_or_default();
    let newest = generation.newest_versions(names.into_iter(), &asking, client::platform(asked).as_ref());
    reply::json(asked, &Coded::from_json(&newest))
}

pub(super) fn found<'a>(generation: &'a Generation, name: &str) -> Result<(usize, &'a ServedPlugin), HttpRefusal> {
    let shown: String = name.chars().take(80).collect();
    generation.plugin(name).ok_or_else(|| HttpRefusal::not_found(format!("Plugin {shown} is not in this mirror")))
}

/// Returns a version by its name, or the newest that the caller can use.
fn chosen<'a>(
    plugin: &'a ServedPlugin,
    version: &str,
    asking: &Asking,
    platform: Option<&Platform>,
) -> Result<&'a ServedRelease, HttpRefusal> {
    if version == "latest" {
        return plugin.newest_for(asking, platform).ok_or_else(|| nothing_fits(plugin, asking, platform));
    }
    plugin.release(version).ok_or_else(|| {
        let id = &plugin.plugin.id;
        let shown: String = version.chars().take(80).collect();
        HttpRefusal::not_found(match plugin.refusal(version) {
            Some(why) => format!("Version {shown} of {id} {why}"),
            None => format!("Plugin {id} has no version {shown} in this mirror"),
        })
    })
}

fn nothing_fits(plugin: &ServedPlugin, asking: &Asking, platform: Option<&Platform>) -> HttpRefusal {
    let id = &plugin.plugin.id;
    if !plugin.is_listed() {
        return unserved(plugin);
    }
    let grafana = match asking {
        Asking::Version(version) => format!(" for Grafana {version}"),
        Asking::Anyone | Asking::Invalid => String::new(),
    };
    let platform = platform.map_or_else(String::new, |platform| format!(" on {platform}"));
    HttpRefusal::not_found(format!("Plugin {id} has no version{grafana}{platform} in this mirror"))
}

/// Returns the refusal of a plugin that has no version here, with the reason of its newest one.
fn unserved(plugin: &ServedPlugin) -> HttpRefusal {
    let id = &plugin.plugin.id;
    if plugin.is_withdrawn {
        return HttpRefusal::not_found(format!("Plugin {id} is no longer in the catalog of this mirror"));
    }
    HttpRefusal::not_found(match plugin.refused.first() {
        Some(refused) => {
            format!("Plugin {id} has no version in this mirror: version {} {}", refused.version, refused.why)
        }
        None => format!("Plugin {id} has no version in this mirror"),
    })
}

fn other_platform(plugin: &ServedPlugin, release: &ServedRelease, platform: Option<&Platform>) -> HttpRefusal {
    let (id, version) = (&plugin.plugin.id, &release.version);
    let Some(packages) = &release.packages else {
        return HttpRefusal::not_found(format!("Version {version} of {id} has no package in this mirror"));
    };
    let offered: Vec<_> = packages.keys().map(Platform::as_str).collect();
    let wanted = platform.map_or("a platform that is not named", Platform::as_str);
    HttpRefusal::not_found(format!(
        "Version {version} of {id} is not available for {wanted}; there is {}",
        offered.join(", ")
    ))
}

fn not_pulled(error: &PullError) -> HttpRefusal {
    let kind = match error.fault {
        PullFault::Missing => Kind::NotFound,
        PullFault::Upstream => Kind::Upstream,
        PullFault::TooSlow => Kind::UpstreamTimeout,
        PullFault::Busy => Kind::Unavailable,
    };
    HttpRefusal::new(kind, error.message.clone())
}

fn no_image(plugin: &ServedPlugin, release: &ServedRelease) -> HttpRefusal {
    HttpRefusal::not_found(format!("There is no such image of {} {} in this mirror", plugin.plugin.id, release.version))
}

/// Returns one of the packages of a release that are in the store.
fn a_package(id: &PluginId, release: &ServedRelease) -> Option<Blob> {
    let (platform, package) = release.packages.as_ref()?.iter().find(|(_, package)| package.stored.is_some())?;
    Some(Blob {
        plugin: id.clone(),
        version: release.version.clone(),
        platform: platform.clone(),
        sha256: package.stored?,
        md5: package.digests.md5,
        size: package.size.unwrap_or_default(),
        plugin_json: release.plugin_json.as_deref().unwrap_or_default().to_owned(),
        weak: false,
        added_at: release.created_at,
    })
}
