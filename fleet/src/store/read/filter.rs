//! The WHERE clause of a query, with its parameters.

use crate::store::database::Value;

/// Conditions that must all hold.
#[derive(Debug, Default)]
pub(super) struct Filter<'a> {
    conditions: Vec<String>,
    pub(super) values: Vec<Value<'a>>,
}

impl<'a> Filter<'a> {
    /// Adds `condition`, in which `?` stands for `value`, unless `value` is absent.
    pub(super) fn and<T: Into<Value<'a>>>(&mut self, condition: &str, value: Option<T>) {
        if let Some(value) = value {
            let placeholder = self.parameter(value);
            self.conditions.push(condition.replace('?', &placeholder));
        }
    }

    /// Adds a condition without a parameter.
    pub(super) fn and_plainly(&mut self, condition: &str) {
        self.conditions.push(condition.to_owned());
    }

    /// Adds a parameter and returns its placeholder.
    pub(super) fn parameter<T: Into<Value<'a>>>(&mut self, value: T) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// The clause, empty without conditions.
    pub(super) fn clause(&self) -> String {
        if self.conditions.is_empty() {
            return String::new();
        }
        format!("WHERE {}", self.conditions.join(" AND "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_do_not_restrict_and_parameters_are_numbered() {
        let mut filter = Filter::default();
        assert_eq!(filter.clause(), "");
        filter.and("a = ?", Some("x"));
        filter.and("b = ?", None::<i64>);
        filter.and("c > ?", Some(3_i64));
        filter.and_plainly("d IS NULL");
        assert_eq!(filter.clause(), "WHERE a = ?1 AND c > ?2 AND d IS NULL");
        assert_eq!(filter.values, [Value::Text("x"), Value::Int(3)]);
    }
}
