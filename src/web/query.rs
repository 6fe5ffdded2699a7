//! What somebody asks of the list: words, filters, an order and a page. All of it is in the address.

use std::collections::BTreeMap;

/// The longest search text, in characters.
const LONGEST: usize = 200;

/// What plugins are filtered by. The first six are values of the plugin itself; the last depends on the switch.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Group {
    Type,
    Signature,
    Status,
    Stored,
    Angular,
    Publisher,
    Works,
}

impl Group {
    pub(super) const STORED_COUNT: usize = 6;
    pub(super) const STORED: [Self; Self::STORED_COUNT] =
        [Self::Type, Self::Signature, Self::Status, Self::Stored, Self::Angular, Self::Publisher];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Signature => "signature",
            Self::Status => "status",
            Self::Stored => "stored",
            Self::Angular => "angular",
            Self::Publisher => "publisher",
            Self::Works => "works",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Type => "Type",
            Self::Signature => "Signature",
            Self::Status => "Status",
            Self::Stored => "In this mirror",
            Self::Angular => "Angular",
            Self::Publisher => "Publisher",
            Self::Works => "Works with",
        }
    }
}

/// What the list is ordered by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Order {
    /// How well the words match; without words what is stored first, then downloads.
    #[default]
    Relevance,
    Downloads,
    Updated,
    Name,
}

impl Order {
    pub(super) const ALL: [Self; 4] = [Self::Relevance, Self::Downloads, Self::Updated, Self::Name];

    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Relevance => "",
            Self::Downloads => "downloads",
            Self::Updated => "updated",
            Self::Name => "name",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Relevance => "Relevance",
            Self::Downloads => "Downloads",
            Self::Updated => "Updated",
            Self::Name => "Name",
        }
    }
}

/// What somebody asks of the list.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ListQuery {
    /// The words that are searched for.
    pub words: String,
    pub(super) filters: BTreeMap<Group, String>,
    pub(super) order: Order,
    /// Counted from 1.
    pub(super) page: usize,
}

impl ListQuery {
    /// Reads the parameters of an address; those that make no sense are as if they were not there.
    pub(crate) fn parse<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Self {
        let cut = |text: &str| text.trim().chars().take(LONGEST).collect::<String>();
        let groups = Group::STORED.into_iter().chain([Group::Works]);
        let filter = |group: Group| Some((group, cut(get(group.key())?))).filter(|(_, value)| !value.is_empty());
        let order = get("sort").and_then(|sort| Order::ALL.into_iter().find(|order| order.key() == sort));
        Self {
            words: get("q").map(cut).unwrap_or_default(),
            filters: groups.filter_map(filter).collect(),
            order: order.unwrap_or_default(),
            page: get("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1),
        }
    }

    /// Returns it with another value of a filter, on the first page.
    pub(super) fn with(&self, group: Group, value: Option<&str>) -> Self {
        let mut changed = Self { page: 1, ..self.clone() };
        match value {
            Some(value) => drop(changed.filters.insert(group, value.to_owned())),
            None => drop(changed.filters.remove(&group)),
        }
        changed
    }

    /// Returns it with another order, on the first page.
    pub(super) fn ordered_by(&self, order: Order) -> Self {
        Self { order, page: 1, ..self.clone() }
    }

    /// Returns another page of it.
    pub(super) fn at_page(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }

    /// Returns the parameters of its address.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![("q", self.words.clone())];
        parameters.extend(self.filters.iter().map(|(group, value)| (group.key(), value.clone())));
        parameters.push(("sort", self.order.key().to_owned()));
        parameters.push(("page", if self.page > 1 { self.page.to_string() } else { String::new() }));
        parameters.retain(|(_, value)| !value.is_empty());
        parameters
    }
}
