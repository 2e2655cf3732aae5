//! JSON to a [`Filter`] and back: every limit and type is checked here, so that evaluating needs no check.
//! Errors name the field by its path (`or[1].price.lt`), what was expected there and what came.

use super::{
    Bound, ColorName, Filter, MAX_CONDITIONS, MAX_DEPTH, MAX_JSON_BYTES, MAX_TEXT_BYTES, MAX_VALUES, Node, PriceTest,
    TextField,
};
use serde_json::{Map, Value, json};

const FIELDS: &str = "category, price, currency, in_stock, group_id, tags, color, attributes.<name>, not, and or or";

/// Why a filter was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A value of the wrong type, an unknown name, or an empty list.
    #[error("filter: {path} must be {expected}, got {received}")]
    Invalid {
        /// Where: `price.lt`, `or[1].color`; `filter` for the whole.
        path: String,
        /// What may stand there.
        expected: String,
        /// What stood there, shortened.
        received: String,
    },
    /// No field of this name.
    #[error("filter: {path} is no field; fields are {expected}")]
    UnknownField {
        /// Where.
        path: String,
        /// The fields there are.
        expected: String,
    },
    /// A limit was passed.
    #[error("filter: {path} has {received} {unit}, at most {limit} are allowed")]
    TooLarge {
        /// Where.
        path: String,
        /// `levels`, `conditions`, `values` or `bytes`.
        unit: &'static str,
        /// How many are allowed.
        limit: usize,
        /// How many came; of levels and conditions, where counting stopped.
        received: usize,
    },
    /// Not JSON.
    #[error("filter: not JSON: {detail}")]
    NotJson {
        /// What the JSON parser says, with line and column.
        detail: String,
    },
}

impl FilterError {
    fn invalid(path: &str, expected: impl Into<String>, received: &Value) -> Self {
        Self::Invalid { path: name(path), expected: expected.into(), received: shortened(received) }
    }

    /// The path of the field at fault; `filter` for the whole.
    pub fn path(&self) -> &str {
        match self {
            Self::Invalid { path, .. } | Self::UnknownField { path, .. } | Self::TooLarge { path, .. } => path,
            Self::NotJson { .. } => "filter",
        }
    }
}

/// Values in messages, at most this many characters of them.
const SHOWN_CHARS: usize = 60;

fn shortened(value: &Value) -> String {
    let text = match value {
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(map) if map.is_empty() => "an empty object".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= SHOWN_CHARS {
        return text;
    }
    text.chars().take(SHOWN_CHARS).chain(['…']).collect()
}

fn name(path: &str) -> String {
    let shown = if path.is_empty() { "filter" } else { path };
    shown.chars().take(200).collect()
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl Filter {
    /// A filter from JSON text of at most [`MAX_JSON_BYTES`].
    pub fn parse_str(text: &str) -> Result<Self, FilterError> {
        if text.len() > MAX_JSON_BYTES {
            return Err(FilterError::TooLarge {
                path: "filter".to_owned(),
                unit: "bytes",
                limit: MAX_JSON_BYTES,
                received: text.len(),
            });
        }
        // serde_json itself stops at 128 levels, so hostile nesting cannot exhaust the stack.
        let value: Value =
            serde_json::from_str(text).map_err(|error| FilterError::NotJson { detail: error.to_string() })?;
        Self::parse(&value)
    }

    /// A filter from JSON, see the grammar in the [module](super).
    pub fn parse(value: &Value) -> Result<Self, FilterError> {
        let mut parser = Parser { conditions: 0 };
        parser.object(value, "", 1).map(Filter)
    }

    /// The filter as JSON: parsing it gives an equal filter back, as long as the limits hold.
    pub fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

struct Parser {
    conditions: usize,
}

impl Parser {
    fn object(&mut self, value: &Value, path: &str, depth: usize) -> Result<Node, FilterError> {
        if depth > MAX_DEPTH {
            return Err(FilterError::TooLarge { path: name(path), unit: "levels", limit: MAX_DEPTH, received: depth });
        }
        let Value::Object(map) = value else {
            return Err(FilterError::invalid(path, "an object", value));
        };
        let mut nodes = Vec::with_capacity(map.len().min(MAX_CONDITIONS));
        for (key, value) in map {
            nodes.push(self.entry(key, value, path, depth)?);
        }
        Ok(match nodes.pop() {
            Some(only) if nodes.is_empty() => only,
            Some(last) => {
                nodes.push(last);
                Node::And(nodes)
            }
            None => Node::And(nodes),
        })
    }

    fn entry(&mut self, key: &str, value: &Value, outer: &str, depth: usize) -> Result<Node, FilterError> {
        let path = &join(outer, key);
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(FilterError::TooLarge {
                path: name(path),
                unit: "conditions",
                limit: MAX_CONDITIONS,
                received: self.conditions,
            });
        }
        let field = match key {
            "not" => return Ok(self.object(value, path, depth + 1)?.negated()),
            "and" => return Ok(Node::And(self.list(value, path, depth)?)),
            "or" => return Ok(Node::Or(self.list(value, path, depth)?)),
            "price" => return price(value, path).map(Node::Price),
            "in_stock" => return in_stock(value, path),
            "color" => return color(value, path),
            "category" => TextField::Category,
            "currency" => TextField::Currency,
            "group_id" => TextField::GroupId,
            "tags" => TextField::Tags,
            _ => match key.strip_prefix("attributes.") {
                Some(attribute) if !attribute.is_empty() && attribute.len() <= MAX_TEXT_BYTES => {
                    TextField::Attribute(attribute.to_owned())
                }
                _ => {
                    return Err(FilterError::UnknownField { path: name(path), expected: FIELDS.to_owned() });
                }
            },
        };
        let (any_of, missing) = text_values(value, path)?;
        Ok(Node::Text { field, any_of, missing })
    }

    fn list(&mut self, value: &Value, path: &str, depth: usize) -> Result<Vec<Node>, FilterError> {
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            return Err(FilterError::invalid(path, "a list of at least one filter", value));
        };
        check_values(items, path)?;
        items
            .iter()
            .enumerate()
            .map(|(i, item)| {
                self.conditions += 1;
                self.object(item, &format!("{path}[{i}]"), depth + 1)
            })
            .collect()
    }
}

fn check_values(items: &[Value], path: &str) -> Result<(), FilterError> {
    if items.len() > MAX_VALUES {
        return Err(FilterError::TooLarge {
            path: name(path),
            unit: "values",
            limit: MAX_VALUES,
            received: items.len(),
        });
    }
    Ok(())
}

/// The values of a scalar or a list, each read by `read`, and whether `null` was among them.
fn values<T>(
    value: &Value,
    path: &str,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<(Vec<T>, bool), FilterError> {
    let (items, listed) = match value {
        Value::Array(items) => (items.as_slice(), true),
        scalar => (std::slice::from_ref(scalar), false),
    };
    if items.is_empty() {
        let expected = format!("{expected}, or a list of at least one");
        return Err(FilterError::invalid(path, expected, value));
    }
    check_values(items, path)?;
    let mut out = Vec::with_capacity(items.len());
    let mut missing = false;
    for (i, item) in items.iter().enumerate() {
        if item.is_null() {
            missing = true;
            continue;
        }
        match read(item) {
            Some(read) => out.push(read),
            None if listed => {
                return Err(FilterError::invalid(&format!("{path}[{i}]"), format!("{expected} or null"), item));
            }
            None => {
                let expected = format!("{expected}, null, or a list of them");
                return Err(FilterError::invalid(path, expected, item));
            }
        }
    }
    Ok((out, missing))
}

fn text_values(value: &Value, path: &str) -> Result<(Vec<String>, bool), FilterError> {
    values(value, path, "a string of at most 512 bytes", |item| match item {
        Value::String(text) if text.len() <= MAX_TEXT_BYTES => Some(text.clone()),
        _ => None,
    })
}

fn color(value: &Value, path: &str) -> Result<Node, FilterError> {
    let names: Vec<&str> = ColorName::all().collect();
    let expected = format!("a color name ({})", names.join(", "));
    let (any_of, missing) = values(value, path, &expected, |item| ColorName::parse(item.as_str()?))?;
    Ok(Node::Color { any_of, missing })
}

fn in_stock(value: &Value, path: &str) -> Result<Node, FilterError> {
    match value {
        Value::Bool(expected) => Ok(Node::InStock(Some(*expected))),
        Value::Null => Ok(Node::InStock(None)),
        other => Err(FilterError::invalid(path, "true, false or null", other)),
    }
}

fn price(value: &Value, path: &str) -> Result<PriceTest, FilterError> {
    if let Value::Object(range) = value {
        return price_range(range, value, path);
    }
    let expected = "a number or a range {lt, lte, gt, gte}";
    let (values, missing) = values(value, path, expected, Value::as_f64)?;
    Ok(PriceTest::AnyOf { values, missing })
}

fn price_range(range: &Map<String, Value>, whole: &Value, path: &str) -> Result<PriceTest, FilterError> {
    let (mut low, mut high) = (Bound::None, Bound::None);
    for (key, value) in range {
        let (end, bound): (&mut Bound, fn(f64) -> Bound) = match key.as_str() {
            "lt" => (&mut high, Bound::Open),
            "lte" => (&mut high, Bound::Closed),
            "gt" => (&mut low, Bound::Open),
            "gte" => (&mut low, Bound::Closed),
            _ => {
                return Err(FilterError::UnknownField {
                    path: name(&join(path, key)),
                    expected: "lt, lte, gt or gte".to_owned(),
                });
            }
        };
        if *end != Bound::None {
            let expected = "one of lt and lte, and one of gt and gte";
            return Err(FilterError::invalid(path, expected, whole));
        }
        let Some(number) = value.as_f64() else {
            return Err(FilterError::invalid(&join(path, key), "a number", value));
        };
        *end = bound(number);
    }
    if range.is_empty() {
        let expected = "a range with at least one of lt, lte, gt, gte";
        return Err(FilterError::invalid(path, expected, whole));
    }
    Ok(PriceTest::Range { low, high })
}

impl Node {
    fn to_json(&self) -> Value {
        match self {
            Node::And(nodes) if nodes.is_empty() => json!({}),
            Node::And(nodes) => json!({ "and": to_list(nodes) }),
            Node::Or(nodes) => json!({ "or": to_list(nodes) }),
            Node::Not(node) => json!({ "not": node.to_json() }),
            Node::Text { field, any_of, missing } => {
                let key = match field {
                    TextField::Category => "category".to_owned(),
                    TextField::Currency => "currency".to_owned(),
                    TextField::GroupId => "group_id".to_owned(),
                    TextField::Tags => "tags".to_owned(),
                    TextField::Attribute(name) => format!("attributes.{name}"),
                };
                json!({ key: with_null(any_of.iter().map(|text| json!(text)), *missing) })
            }
            Node::Color { any_of, missing } => {
                let names = any_of.iter().map(|color| json!(color.as_str()));
                json!({ "color": with_null(names, *missing) })
            }
            Node::InStock(expected) => json!({ "in_stock": expected }),
            Node::Price(PriceTest::AnyOf { values, missing }) => {
                json!({ "price": with_null(values.iter().map(|v| json!(v)), *missing) })
            }
            Node::Price(PriceTest::Range { low, high }) => {
                let mut range = Map::new();
                let mut put = |bound: &Bound, open: &str, closed: &str| match bound {
                    Bound::None => None,
                    Bound::Open(value) => range.insert(open.to_owned(), json!(value)),
                    Bound::Closed(value) => range.insert(closed.to_owned(), json!(value)),
                };
                put(low, "gt", "gte");
                put(high, "lt", "lte");
                json!({ "price": range })
            }
        }
    }
}

fn to_list(nodes: &[Node]) -> Vec<Value> {
    nodes.iter().map(Node::to_json).collect()
}

fn with_null(values: impl Iterator<Item = Value>, missing: bool) -> Vec<Value> {
    values.chain(missing.then_some(Value::Null)).collect()
}
