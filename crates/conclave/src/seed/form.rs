//! What a seed may declare: members of the operations that make things, under the API's own names, and beside them what the API has no
//! name for. `check` and `schema` follow from this.

use conclave_api::{Member, Operation, Shape};
use serde_json::{Map, Value as Json};

use super::node::Node;

/// A kind of thing.
pub struct Form {
    /// What a list of these is called in the file.
    pub list: &'static str,
    /// What people call one.
    pub what: &'static str,
    /// The operation that makes one: its members can be declared.
    pub operation: Option<&'static str>,
    /// Members of the operation that follow from the place in the file, or mean nothing in one.
    pub without: &'static [&'static str],
    /// Members that the operation does not have.
    pub own: &'static [Own],
    /// Members that no two of them share.
    pub unique: &'static [&'static str],
    /// What lies inside.
    pub children: &'static [&'static Form],
}

/// A member that the API does not have.
pub struct Own {
    pub name: &'static str,
    pub kind: OwnKind,
    pub is_required: bool,
    /// For people, in the schema.
    pub about: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OwnKind {
    Text,
    Flag,
    Texts,
}

const fn text(name: &'static str, about: &'static str) -> Own {
    Own { name, kind: OwnKind::Text, is_required: false, about }
}

const fn required(name: &'static str, about: &'static str) -> Own {
    Own { name, kind: OwnKind::Text, is_required: true, about }
}

/// The file as a whole.
pub static ROOT: Form = Form {
    list: "",
    what: "seed",
    operation: None,
    without: &[],
    own: &[text("$schema", "Where this schema is; for editors.")],
    unique: &[],
    children: &[&ACCOUNTS, &USER_POOLS],
};

pub static ACCOUNTS: Form = Form {
    list: "Accounts",
    what: "account",
    operation: None,
    without: &[],
    own: &[required("AccountId", "12 digits."), text("Name", "What people call it.")],
    unique: &["AccountId"],
    children: &[&ACCESS_KEYS],
};

pub static ACCESS_KEYS: Form = Form {
    list: "AccessKeys",
    what: "access key",
    operation: None,
    without: &[],
    own: &[
        required("AccessKeyId", "1 to 128 letters, digits and underscores."),
        required("SecretAccessKey", "What requests are signed with."),
        text("UserName", "The name of the principal: user/NAME in its ARN."),
        text(
            "Policy",
            "An IAM policy document, in JSON. Without it, everything within the account is allowed.",
        ),
    ],
    unique: &["AccessKeyId"],
    children: &[],
};

pub static USER_POOLS: Form = Form {
    list: "UserPools",
    what: "user pool",
    operation: Some("CreateUserPool"),
    without: &[],
    own: &[
        text(
            "Id",
            "A fixed pool ID, such as eu-west-1_Abc123XYZ. Without it, the pool is known by its name.",
        ),
        text("AccountId", "Whose it is; 000000000000 when left out."),
        text("Region", "When left out: that of Id, or us-east-1."),
    ],
    unique: &["Id"],
    children: &[&RESOURCE_SERVERS, &IDENTITY_PROVIDERS, &GROUPS, &CLIENTS, &DOMAINS, &USERS],
};

pub static RESOURCE_SERVERS: Form = Form {
    list: "ResourceServers",
    what: "resource server",
    operation: Some("CreateResourceServer"),
    without: &["UserPoolId"],
    own: &[],
    unique: &["Identifier"],
    children: &[],
};

pub static IDENTITY_PROVIDERS: Form = Form {
    list: "IdentityProviders",
    what: "identity provider",
    operation: Some("CreateIdentityProvider"),
    without: &["UserPoolId"],
    own: &[],
    unique: &["ProviderName"],
    children: &[],
};

pub static GROUPS: Form = Form {
    list: "Groups",
    what: "group",
    operation: Some("CreateGroup"),
    without: &["UserPoolId"],
    own: &[],
    unique: &["GroupName"],
    children: &[],
};

pub static CLIENTS: Form = Form {
    list: "Clients",
    what: "app client",
    operation: Some("CreateUserPoolClient"),
    without: &["UserPoolId"],
    own: &[text("ClientId", "A fixed client ID. Without it, the client is known by its name.")],
    unique: &["ClientId"],
    children: &[],
};

pub static DOMAINS: Form = Form {
    list: "Domains",
    what: "domain",
    operation: Some("CreateUserPoolDomain"),
    without: &["UserPoolId"],
    own: &[],
    unique: &["Domain"],
    children: &[],
};

pub static USERS: Form = Form {
    list: "Users",
    what: "user",
    operation: Some("AdminCreateUser"),
    // a seed sends no messages
    without: &["UserPoolId", "MessageAction", "DesiredDeliveryMediums"],
    own: &[
        text("Sub", "A fixed sub: a UUID in lower case."),
        text("Password", "A permanent password. TemporaryPassword is one that has to be changed."),
        Own {
            name: "Enabled",
            kind: OwnKind::Flag,
            is_required: false,
            about: "Whether the user may sign in.",
        },
        Own {
            name: "Groups",
            kind: OwnKind::Texts,
            is_required: false,
            about: "Names of groups that the user is in.",
        },
    ],
    unique: &["Username", "Sub"],
    children: &[],
};

impl Form {
    /// The operation that makes one.
    pub fn operation(&self) -> Option<&'static Operation> {
        self.operation.and_then(Operation::by_name)
    }

    /// The input of that operation.
    pub fn shape(&self) -> Option<&'static Shape> {
        self.operation().map(|operation| operation.new_input().shape())
    }

    /// The members of the operation that can be declared.
    pub fn members(&self) -> impl Iterator<Item = &'static Member> {
        let members = self.shape().map_or(&[][..], |shape| shape.members);
        members.iter().filter(|member| !self.without.contains(&member.name))
    }

    /// The member of the operation with that name.
    pub fn member(&self, name: &str) -> Option<&'static Member> {
        self.members().find(|member| member.name == name)
    }

    /// What is declared of the operation's members.
    pub fn declared(&self, node: &Node) -> Map<String, Json> {
        let entries = node.entries().iter().filter(|entry| self.member(&entry.name).is_some());
        entries.map(|entry| (entry.name.clone(), entry.node.to_json())).collect()
    }
}
