//! A pool's schema: the standard attributes, what a request may change of them, and custom attributes.
//!
//! Sources: API reference, `SchemaAttributeType`; developer guide, "Working with user attributes". Texts
//! are Cognito's.

use std::collections::HashSet;

use conclave_api::{ApiError, types};
use conclave_store::records::{PoolRecord, SchemaAttribute};

use crate::errors;

/// The longest value of a string attribute, in characters.
pub const STRING_LENGTH_MAX: u64 = 2048;

/// What the values of an attribute are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// `String`
    String,
    /// `Number`
    Number,
    /// `DateTime`
    DateTime,
    /// `Boolean`
    Boolean,
}

impl DataType {
    /// As in requests and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Number => "Number",
            Self::DateTime => "DateTime",
            Self::Boolean => "Boolean",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::String, Self::Number, Self::DateTime, Self::Boolean]
            .into_iter()
            .find(|data_type| data_type.as_str() == name)
    }
}

/// The standard attributes in the order in which a new pool lists them.
pub const STANDARD_ATTRIBUTES: [&str; 20] = [
    "sub",
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "email",
    "email_verified",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone_number",
    "phone_number_verified",
    "address",
    "updated_at",
];

/// The order in which DescribeUserPool lists the standard attributes, with `identities`, which no other
/// operation shows. Custom attributes stand between the two parts.
const DESCRIBED_BEFORE_CUSTOM: [&str; 14] = [
    "profile",
    "address",
    "birthdate",
    "gender",
    "preferred_username",
    "updated_at",
    "website",
    "picture",
    IDENTITIES,
    "sub",
    "email_verified",
    "phone_number_verified",
    "phone_number",
    "zoneinfo",
];
const DESCRIBED_AFTER_CUSTOM: [&str; 7] =
    ["locale", "email", "given_name", "family_name", "middle_name", "name", "nickname"];
const IDENTITIES: &str = "identities";

/// The attribute of that name, such as `email` or `custom:team`.
pub fn find<'a>(pool: &'a PoolRecord, name: &str) -> Option<&'a SchemaAttribute> {
    pool.schema.iter().find(|attribute| attribute.name == name)
}

/// What the attribute's values are.
pub fn data_type(attribute: &SchemaAttribute) -> DataType {
    DataType::parse(&attribute.data_type).unwrap_or(DataType::String)
}

/// The attributes that every user of the pool must have; `sub`, which the service gives, is not one.
pub fn required(pool: &PoolRecord) -> impl Iterator<Item = &SchemaAttribute> {
    pool.schema.iter().filter(|attribute| attribute.required && attribute.name != "sub")
}

/// Whether this is one of the attributes that every pool has.
pub fn is_standard(name: &str) -> bool {
    STANDARD_ATTRIBUTES.contains(&name)
}

/// The least and the greatest length of a string attribute, in characters.
pub fn lengths(attribute: &SchemaAttribute) -> (u64, u64) {
    let min = attribute.min_length.as_deref().and_then(|text| text.parse().ok());
    let max = attribute.max_length.as_deref().and_then(|text| text.parse().ok());
    (min.unwrap_or(0), max.unwrap_or(STRING_LENGTH_MAX))
}

/// The least and the greatest value of a number attribute, where it has them.
pub fn values(attribute: &SchemaAttribute) -> (Option<i128>, Option<i128>) {
    let parse = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    (parse(&attribute.min_value), parse(&attribute.max_value))
}

/// The schema of a new pool: the standard attributes as the request wants them, then the custom ones in
/// the request's order.
///
/// # Errors
/// InvalidParameterException for what a schema may not say.
pub fn new_schema(
    requested: &[types::SchemaAttributeType],
) -> Result<Vec<SchemaAttribute>, ApiError> {
    let mut schema: Vec<SchemaAttribute> =
        STANDARD_ATTRIBUTES.into_iter().map(standard_attribute).collect();
    let mut overridden = HashSet::new();
    for request in requested {
        let name = request.name.as_deref().unwrap_or_default();
        match schema.iter_mut().find(|attribute| attribute.name == name) {
            Some(attribute) => {
                if !overridden.insert(name) {
                    return Err(errors::invalid_parameter(format!(
                        "Duplicate standard attribute names {name} are not allowed in a user pool schema."
                    )));
                }
                override_standard(attribute, request)?;
            }
            None => {
                let attribute = custom_attribute(request)?;
                if schema.iter().any(|other| other.name == attribute.name) {
                    return Err(errors::invalid_parameter(format!(
                        "Duplicate custom attribute names {} are not allowed in a user pool schema.",
                        attribute.name
                    )));
                }
                schema.push(attribute);
            }
        }
    }
    Ok(schema)
}

/// Adds custom attributes to a pool's schema, in the request's order.
///
/// # Errors
/// InvalidParameterException for what a custom attribute may not say, for a name that is taken, and when
/// there would be more than `max`.
pub(super) fn add_custom(
    schema: &mut Vec<SchemaAttribute>,
    requested: &[types::SchemaAttributeType],
    max: usize,
) -> Result<(), ApiError> {
    for request in requested {
        let attribute = custom_attribute(request)?;
        let name = &attribute.name;
        if schema.iter().any(|other| other.name == *name) {
            return Err(errors::invalid_parameter(format!(
                "{name}: Existing attribute already has name {name}."
            )));
        }
        schema.push(attribute);
    }
    let custom = schema.iter().filter(|attribute| !is_standard(&attribute.name)).count();
    if custom > max {
        return Err(errors::invalid_parameter(format!(
            "A user pool cannot have more than {max} custom attributes."
        )));
    }
    Ok(())
}

fn standard_attribute(name: &str) -> SchemaAttribute {
    let attribute = SchemaAttribute {
        name: name.to_owned(),
        data_type: DataType::String.as_str().to_owned(),
        mutable: true,
        ..Default::default()
    };
    let lengths = |min: &str, max: &str| SchemaAttribute {
        min_length: Some(min.to_owned()),
        max_length: Some(max.to_owned()),
        has_string_constraints: true,
        ..attribute.clone()
    };
    match name {
        "sub" => SchemaAttribute { mutable: false, required: true, ..lengths("1", "2048") },
        "birthdate" => lengths("10", "10"),
        "email_verified" | "phone_number_verified" => SchemaAttribute {
            data_type: DataType::Boolean.as_str().to_owned(),
            ..attribute.clone()
        },
        "updated_at" => SchemaAttribute {
            data_type: DataType::Number.as_str().to_owned(),
            min_value: Some("0".to_owned()),
            has_number_constraints: true,
            ..attribute.clone()
        },
        _ => lengths("0", "2048"),
    }
}

/// What is not said stays as it is by default, limits included.
fn override_standard(
    attribute: &mut SchemaAttribute,
    request: &types::SchemaAttributeType,
) -> Result<(), ApiError> {
    let retyped =
        request.attribute_data_type.as_ref().is_some_and(|given| *given != attribute.data_type);
    if retyped || request.developer_only_attribute == Some(true) {
        return Err(errors::invalid_parameter(format!(
            "You can not change AttributeDataType or set developerOnlyAttribute for standard schema attribute {}",
            attribute.name
        )));
    }
    attribute.mutable = request.mutable.unwrap_or(attribute.mutable);
    attribute.required = request.required.unwrap_or(attribute.required);
    set_limits(attribute, request);
    check_limits(attribute)
}

fn custom_attribute(request: &types::SchemaAttributeType) -> Result<SchemaAttribute, ApiError> {
    let name = request.name.as_deref().unwrap_or_default();
    let Some(data_type) = request.attribute_data_type.as_deref().and_then(DataType::parse) else {
        return Err(errors::invalid_parameter(
            "Invalid AttributeDataType input, consider using the provided AttributeDataType enum.",
        ));
    };
    if request.required == Some(true) {
        return Err(errors::invalid_parameter(
            "Required custom attributes are not supported currently.",
        ));
    }
    let developer_only = request.developer_only_attribute == Some(true);
    let prefix = if developer_only { "dev:custom:" } else { "custom:" };
    let mut attribute = SchemaAttribute {
        name: format!("{prefix}{name}"),
        data_type: data_type.as_str().to_owned(),
        developer_only,
        mutable: request.mutable.unwrap_or(true),
        // shown even where they limit nothing
        has_string_constraints: data_type == DataType::String,
        has_number_constraints: data_type == DataType::Number,
        ..Default::default()
    };
    set_limits(&mut attribute, request);
    check_limits(&attribute)?;
    Ok(attribute)
}

/// Takes over the limits that fit the attribute's type; Cognito does not look at the others.
fn set_limits(attribute: &mut SchemaAttribute, request: &types::SchemaAttributeType) {
    let or = |given: &Option<String>, default: Option<String>| given.clone().or(default);
    match data_type(attribute) {
        DataType::String => {
            if let Some(limits) = &request.string_attribute_constraints {
                attribute.min_length = or(&limits.min_length, attribute.min_length.take());
                attribute.max_length = or(&limits.max_length, attribute.max_length.take());
            }
        }
        DataType::Number => {
            if let Some(limits) = &request.number_attribute_constraints {
                attribute.min_value = or(&limits.min_value, attribute.min_value.take());
                attribute.max_value = or(&limits.max_value, attribute.max_value.take());
            }
        }
        DataType::DateTime | DataType::Boolean => {}
    }
}

fn check_limits(attribute: &SchemaAttribute) -> Result<(), ApiError> {
    let name = &attribute.name;
    let malformed = |kind: &str| {
        errors::invalid_parameter(format!(
            "Invalid {kind}AttributeConstraints for schema attribute {name}"
        ))
    };
    let lengths = [&attribute.min_length, &attribute.max_length];
    for length in lengths.into_iter().flatten() {
        let length: u64 = length.parse().map_err(|_| malformed("String"))?;
        if length > STRING_LENGTH_MAX {
            return Err(errors::invalid_parameter(format!(
                "user.{name}: String attributes cannot have a length of more than {STRING_LENGTH_MAX}"
            )));
        }
    }
    for value in [&attribute.min_value, &attribute.max_value].into_iter().flatten() {
        value.parse::<i128>().map_err(|_| malformed("Number"))?;
    }
    let (shortest, longest) = self::lengths(attribute);
    let lengths_cross = attribute.max_length.is_some() && shortest > longest;
    let values_cross = matches!(values(attribute), (Some(least), Some(most)) if least > most);
    if !lengths_cross && !values_cross {
        return Ok(());
    }
    Err(errors::invalid_parameter(match (is_standard(name), lengths_cross) {
        (true, true) => format!("user.{name}: Max length cannot be less than min length."),
        (true, false) => format!("user.{name}: Max value cannot be less than min value."),
        (false, true) => {
            format!("Attribute {name} cannot have a max length shorter than it's min length")
        }
        (false, false) => {
            format!("Attribute {name} cannot have a max value smaller than it's min value")
        }
    }))
}

/// The schema as CreateUserPool answers it.
pub(super) fn created(pool: &PoolRecord) -> Vec<types::SchemaAttributeType> {
    pool.schema.iter().map(wire).collect()
}

/// The schema as DescribeUserPool answers it: in another order, with `identities`.
pub(super) fn described(pool: &PoolRecord) -> Vec<types::SchemaAttributeType> {
    let identities = SchemaAttribute {
        name: IDENTITIES.to_owned(),
        data_type: DataType::String.as_str().to_owned(),
        mutable: true,
        has_string_constraints: true,
        ..Default::default()
    };
    let standard = |name: &str| {
        if name == IDENTITIES { Some(wire(&identities)) } else { find(pool, name).map(wire) }
    };
    let custom = pool.schema.iter().filter(|attribute| !is_standard(&attribute.name)).map(wire);
    let before = DESCRIBED_BEFORE_CUSTOM.into_iter().filter_map(standard);
    before.chain(custom).chain(DESCRIBED_AFTER_CUSTOM.into_iter().filter_map(standard)).collect()
}

fn wire(attribute: &SchemaAttribute) -> types::SchemaAttributeType {
    let string = types::StringAttributeConstraintsType {
        min_length: attribute.min_length.clone(),
        max_length: attribute.max_length.clone(),
    };
    let number = types::NumberAttributeConstraintsType {
        min_value: attribute.min_value.clone(),
        max_value: attribute.max_value.clone(),
    };
    types::SchemaAttributeType {
        name: Some(attribute.name.clone()),
        attribute_data_type: Some(attribute.data_type.clone()),
        developer_only_attribute: Some(attribute.developer_only),
        mutable: Some(attribute.mutable),
        required: Some(attribute.required),
        number_attribute_constraints: attribute.has_number_constraints.then_some(number),
        string_attribute_constraints: attribute.has_string_constraints.then_some(string),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(name: &str, data_type: &str) -> types::SchemaAttributeType {
        types::SchemaAttributeType {
            name: Some(name.to_owned()),
            attribute_data_type: Some(data_type.to_owned()),
            ..Default::default()
        }
    }

    fn standard(name: &str) -> types::SchemaAttributeType {
        types::SchemaAttributeType { name: Some(name.to_owned()), ..Default::default() }
    }

    fn with_lengths(
        attribute: types::SchemaAttributeType,
        min: &str,
        max: &str,
    ) -> types::SchemaAttributeType {
        let limits = types::StringAttributeConstraintsType {
            min_length: Some(min.to_owned()),
            max_length: Some(max.to_owned()),
        };
        types::SchemaAttributeType { string_attribute_constraints: Some(limits), ..attribute }
    }

    fn with_values(
        attribute: types::SchemaAttributeType,
        min: &str,
        max: &str,
    ) -> types::SchemaAttributeType {
        let limits = types::NumberAttributeConstraintsType {
            min_value: Some(min.to_owned()),
            max_value: Some(max.to_owned()),
        };
        types::SchemaAttributeType { number_attribute_constraints: Some(limits), ..attribute }
    }

    fn refusal(requested: &[types::SchemaAttributeType]) -> String {
        let error = new_schema(requested).err().unwrap();
        assert_eq!(error.code.as_str(), "InvalidParameterException");
        error.message.into_owned()
    }

    fn pool(requested: &[types::SchemaAttributeType]) -> PoolRecord {
        PoolRecord { schema: new_schema(requested).unwrap(), ..Default::default() }
    }

    #[test]
    fn an_empty_request_gives_the_standard_attributes() {
        let pool = pool(&[]);
        assert_eq!(pool.schema.len(), 20);
        let email = find(&pool, "email").unwrap();
        assert!(email.mutable && !email.required && !email.developer_only);
        assert_eq!(lengths(email), (0, 2048));
        let sub = find(&pool, "sub").unwrap();
        assert!(!sub.mutable && sub.required);
        assert_eq!(lengths(sub), (1, 2048));
        assert_eq!(lengths(find(&pool, "birthdate").unwrap()), (10, 10));
        let updated_at = find(&pool, "updated_at").unwrap();
        assert_eq!(data_type(updated_at), DataType::Number);
        assert_eq!(values(updated_at), (Some(0), None));
        let verified = find(&pool, "email_verified").unwrap();
        assert_eq!(data_type(verified), DataType::Boolean);
        assert_eq!(required(&pool).count(), 0);
        assert!(find(&pool, "team").is_none());
    }

    #[test]
    fn a_standard_attribute_keeps_what_the_request_leaves_open() {
        let request =
            types::SchemaAttributeType { required: Some(true), ..standard("family_name") };
        let pool = pool(&[request]);
        let attribute = find(&pool, "family_name").unwrap();
        assert!(attribute.required && attribute.mutable);
        assert_eq!(lengths(attribute), (0, 2048));
        assert_eq!(required(&pool).map(|a| a.name.as_str()).collect::<Vec<_>>(), ["family_name"]);
    }

    #[test]
    fn a_standard_attribute_can_be_fixed_and_limited() {
        let request =
            types::SchemaAttributeType { mutable: Some(false), ..custom("email", "String") };
        let pool = pool(&[with_lengths(request, "5", "50")]);
        let attribute = find(&pool, "email").unwrap();
        assert!(!attribute.mutable);
        assert_eq!(lengths(attribute), (5, 50));
        assert_eq!(pool.schema.len(), 20);
    }

    #[test]
    fn a_standard_attribute_keeps_its_type() {
        let text = "You can not change AttributeDataType or set developerOnlyAttribute for standard schema attribute email";
        assert_eq!(refusal(&[custom("email", "Number")]), text);
        let developer_only = types::SchemaAttributeType {
            developer_only_attribute: Some(true),
            ..standard("email")
        };
        assert_eq!(refusal(&[developer_only]), text);
    }

    #[test]
    fn custom_attributes_follow_in_the_order_of_the_request() {
        let fixed =
            types::SchemaAttributeType { mutable: Some(false), ..custom("tenant", "String") };
        let developer = types::SchemaAttributeType {
            developer_only_attribute: Some(true),
            ..custom("role", "String")
        };
        let pool = pool(&[custom("team", "String"), fixed, developer, custom("age", "Number")]);
        let names: Vec<_> = pool.schema[20..].iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["custom:team", "custom:tenant", "dev:custom:role", "custom:age"]);
        assert!(find(&pool, "custom:team").unwrap().mutable);
        assert!(!find(&pool, "custom:tenant").unwrap().mutable);
        assert!(find(&pool, "dev:custom:role").unwrap().developer_only);
    }

    #[test]
    fn limits_are_shown_as_they_were_given() {
        let pool = pool(&[
            custom("open", "String"),
            with_lengths(custom("text", "String"), "1", "1"),
            with_values(custom("number", "Number"), "-5", "7"),
            custom("flag", "Boolean"),
            custom("date", "DateTime"),
        ]);
        let shown = created(&pool);
        let strings = |i: usize| shown[i].string_attribute_constraints.clone();
        let numbers = |i: usize| shown[i].number_attribute_constraints.clone();
        assert_eq!(strings(20), Some(Default::default()));
        assert_eq!(numbers(20), None);
        assert_eq!(strings(21).and_then(|limits| limits.max_length).as_deref(), Some("1"));
        assert_eq!(numbers(22).and_then(|limits| limits.min_value).as_deref(), Some("-5"));
        assert_eq!(values(&pool.schema[22]), (Some(-5), Some(7)));
        assert_eq!((strings(23), numbers(23), strings(24), numbers(24)), (None, None, None, None));
    }

    #[test]
    fn a_custom_attribute_is_never_required_and_has_a_type() {
        let required = types::SchemaAttributeType { required: Some(true), ..custom("x", "String") };
        assert_eq!(refusal(&[required]), "Required custom attributes are not supported currently.");
        assert_eq!(
            refusal(&[standard("x")]),
            "Invalid AttributeDataType input, consider using the provided AttributeDataType enum."
        );
    }

    #[test]
    fn names_are_unique() {
        assert_eq!(
            refusal(&[custom("dept", "String"), custom("dept", "Number")]),
            "Duplicate custom attribute names custom:dept are not allowed in a user pool schema."
        );
        assert!(refusal(&[standard("email"), standard("email")]).starts_with("Duplicate"));
    }

    #[test]
    fn limits_must_be_numbers_in_order_and_not_too_large() {
        assert_eq!(
            refusal(&[with_lengths(custom("level", "String"), "6", "5")]),
            "Attribute custom:level cannot have a max length shorter than it's min length"
        );
        assert_eq!(
            refusal(&[with_values(custom("n2", "Number"), "2", "1")]),
            "Attribute custom:n2 cannot have a max value smaller than it's min value"
        );
        assert_eq!(
            refusal(&[with_lengths(custom("email", "String"), "2", "1")]),
            "user.email: Max length cannot be less than min length."
        );
        assert_eq!(
            refusal(&[with_values(custom("updated_at", "Number"), "2", "1")]),
            "user.updated_at: Max value cannot be less than min value."
        );
        assert_eq!(
            refusal(&[with_lengths(custom("x", "String"), "0", "2049")]),
            "user.custom:x: String attributes cannot have a length of more than 2048"
        );
        assert_eq!(
            refusal(&[with_lengths(custom("x", "String"), "one", "2")]),
            "Invalid StringAttributeConstraints for schema attribute custom:x"
        );
        assert_eq!(
            refusal(&[with_values(custom("x", "Number"), "0", "1e9")]),
            "Invalid NumberAttributeConstraints for schema attribute custom:x"
        );
        assert!(new_schema(&[with_lengths(custom("x", "String"), "2", "2")]).is_ok());
    }

    #[test]
    fn create_and_describe_list_the_schema_in_their_own_orders() {
        let pool = pool(&[custom("team", "String")]);
        let names = |list: Vec<types::SchemaAttributeType>| -> Vec<String> {
            list.into_iter().filter_map(|attribute| attribute.name).collect()
        };
        let created = names(created(&pool));
        assert_eq!(created[..3], ["sub", "name", "given_name"]);
        assert_eq!(created[19..], ["updated_at", "custom:team"]);
        assert_eq!(
            names(described(&pool)),
            [
                "profile",
                "address",
                "birthdate",
                "gender",
                "preferred_username",
                "updated_at",
                "website",
                "picture",
                "identities",
                "sub",
                "email_verified",
                "phone_number_verified",
                "phone_number",
                "zoneinfo",
                "custom:team",
                "locale",
                "email",
                "given_name",
                "family_name",
                "middle_name",
                "name",
                "nickname",
            ]
        );
    }
}
