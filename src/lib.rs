//! OAuth 2.0 resource-server middleware for tower.
