//! Which point of which model is looked at, among those that were measured.

use crate::store::{ModelName, PointQuery, Store, StoreError};
use clipmark_profile::point::Shape;
use std::collections::BTreeMap;

/// A choice, with what there is to choose from.
#[derive(Debug, Clone)]
pub(crate) struct Focus {
    pub(crate) models: Vec<ModelName>,
    pub(crate) model: Option<String>,
    /// Shapes that the model was measured at.
    pub(crate) points: Vec<Shape>,
    pub(crate) at: Option<Shape>,
}

impl Focus {
    /// `model`, or the one measured last where none is named, at `at`, or at its most usual point where it was
    /// never measured there.
    ///
    /// # Errors
    /// The database's refusal.
    pub(crate) fn of(store: &mut Store, model: &str, at: Option<Shape>) -> Result<Self, StoreError> {
        let models = store.model_names()?;
        let newest = models.iter().max_by_key(|row| row.newest).map(|row| row.model.clone());
        let model = Some(model.to_owned()).filter(|name| !name.is_empty()).or(newest);
        let counts = match &model {
            Some(name) => store.grid(name)?,
            None => BTreeMap::new(),
        };
        let usual = counts.iter().max_by_key(|&(_, count)| *count).map(|(&at, _)| at);
        let at = at.filter(|at| counts.contains_key(at)).or(usual);
        Ok(Self { models, model, points: counts.into_keys().collect(), at })
    }

    /// Asks for its newest `limit` runs; absent where nothing was measured.
    pub(crate) fn query(&self, limit: u32) -> Option<PointQuery> {
        Some(PointQuery {
            model: Some(self.model.clone()?),
            shape: Some(self.at?),
            newest_first: true,
            limit,
            ..PointQuery::default()
        })
    }
}
