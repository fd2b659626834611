"""What can be allowed: every permission code with its meaning, and the three roles that are always there."""

from collections.abc import Collection

USERS_READ = "users:read"
USERS_WRITE = "users:write"
USERS_IMPERSONATE = "users:impersonate"
ROLES_READ = "roles:read"
ROLES_WRITE = "roles:write"
AUDIT_READ = "audit:read"
MAIL_READ = "mail:read"
MAIL_WRITE = "mail:write"
SYSTEM_READ = "system:read"

PERMISSIONS: dict[str, str] = {
    USERS_READ: "See every account, its sessions and its history",
    USERS_WRITE: "Create, change, suspend and delete accounts",
    USERS_IMPERSONATE: "Sign in as somebody else for half an hour, to help",
    ROLES_READ: "See roles and what they allow",
    ROLES_WRITE: "Create, change and delete roles",
    AUDIT_READ: "Read the audit log",
    MAIL_READ: "See the mail outbox",
    MAIL_WRITE: "Send mails again",
    SYSTEM_READ: "See the system's status in detail",
}

#: name → (description, permissions); written to the table by migrations, which have copies of their own.
BUILT_IN_ROLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "admin": ("Runs the place: everything", tuple(PERMISSIONS)),
    "editor": ("Looks after content", ()),
    "member": ("Uses what is there", ()),
}


def reaches_others(permissions: Collection[str]) -> bool:
    """Whether somebody reaches more than his own account, and so needs a second step under `REQUIRE_MFA=admins`.

    Each of the permissions above does: accounts, roles, mails, the audit log, the system. What is added counts as well.
    """
    return bool(permissions)
