//! What tokens say of a user's groups. Groups come in the order of [`super::membership::groups`].
//! Source: developer guide, "Adding groups to a user pool", "Assigning precedence values to groups", and
//! "Using tokens to assign roles".

use std::sync::Arc;

use conclave_store::records::GroupRecord;

/// `cognito:groups`
pub fn names(groups: &[Arc<GroupRecord>]) -> Vec<&str> {
    groups.iter().map(|group| group.name.as_str()).collect()
}

/// `cognito:roles`: every role that one of the groups has, each once.
pub fn roles(groups: &[Arc<GroupRecord>]) -> Vec<&str> {
    let mut roles = Vec::new();
    for role in groups.iter().filter_map(|group| group.role_arn.as_deref()) {
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    roles
}

/// `cognito:preferred_role`: that of the group that takes precedence among those with a role; none when
/// groups of equal precedence have different ones.
pub fn preferred_role(groups: &[Arc<GroupRecord>]) -> Option<&str> {
    let mut with_role =
        groups.iter().filter_map(|group| Some((group.precedence, group.role_arn.as_deref()?)));
    let (precedence, role) = with_role.next()?;
    let mut equals = with_role.take_while(|(other, _)| *other == precedence);
    equals.all(|(_, other)| other == role).then_some(role)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(given: &[(&str, Option<i32>, &str)]) -> Vec<Arc<GroupRecord>> {
        let group = |(name, precedence, role): &(&str, Option<i32>, &str)| {
            Arc::new(GroupRecord {
                name: (*name).to_owned(),
                precedence: *precedence,
                role_arn: (!role.is_empty()).then(|| (*role).to_owned()),
                ..Default::default()
            })
        };
        given.iter().map(group).collect()
    }

    #[test]
    fn the_role_of_the_group_that_takes_precedence_is_preferred() {
        for (given, preferred) in [
            (&[][..], None),
            (&[("a", Some(0), "")], None),
            (&[("a", None, "x")], Some("x")),
            (&[("a", Some(0), "x"), ("b", Some(1), "y"), ("c", None, "z")], Some("x")),
            (&[("a", Some(1), "x"), ("b", Some(1), "x"), ("c", Some(2), "z")], Some("x")),
            (&[("a", Some(1), "x"), ("b", Some(1), "y")], None),
            (&[("a", None, "x"), ("b", None, "y")], None),
            (&[("a", Some(0), ""), ("b", Some(1), "y")], Some("y")),
        ] {
            assert_eq!(preferred_role(&groups(given)), preferred, "{given:?}");
        }
    }

    #[test]
    fn every_role_is_told_once() {
        let groups =
            groups(&[("a", Some(0), "x"), ("b", None, ""), ("c", None, "y"), ("d", None, "x")]);
        assert_eq!(roles(&groups), ["x", "y"]);
        assert_eq!(names(&groups), ["a", "b", "c", "d"]);
    }
}
