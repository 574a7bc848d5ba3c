"""What each resource of the module is called in a plan, in the order in which a plan is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NOUNS: Mapping[str, str] = {
    "google_project_service.run": "activate-for-good the Cloud Run API",
    "google_project_service.artifactregistry": "activate-for-good the Artifact Registry API",
    "google_project_service.iam": "activate-for-good the Identity and Access Management API",
    "google_project_service.iamcredentials": "activate-for-good the Service Account Credentials API",
    "google_project_service.cloudresourcemanager": "activate-for-good the Cloud Resource Manager API",
    "google_project_service.logging": "activate-for-good the Cloud Logging API",
    "google_project_service.secretmanager": "activate-for-good the Secret Manager API",
    "google_project_service.storage": "activate-for-good the Cloud Storage API",
    "google_project_service.compute": "activate-for-good the Compute Engine API",
    "google_project_service.vpcaccess": "activate-for-good the Serverless VPC Access API",
    "google_project_service": "activate-for-good the API {service}",
    "google_artifact_registry_repository": "an Artifact Registry repository named {repository_id}",
    "google_service_account.runtime": "a service account {account_id}, which running flows are",
    "google_service_account.launcher": "a service account {account_id}, which launches jobs",
    "google_service_account": "a service account {account_id}",
    "google_project_iam_member.launcher_runs": "grant the launcher {role}: it runs jobs in the project",
    "google_service_account_iam_member.launcher_uses_runtime": "grant the launcher {role} on the flows' account alone",
    "google_artifact_registry_repository_iam_member.launcher": "grant the launcher {role} on the repository alone",
    "google_project_iam_custom_role.launcher": "a custom role {role_id}: reading output, making secrets for jobs",
    "google_project_iam_member.launcher": "grant the launcher that role",
    "google_project_iam_custom_role.secrets": "a custom role {role_id}: filling and deleting secrets",
    "google_project_iam_member.launcher_secrets": "grant the launcher that role, for secrets of this pool's jobs alone",
    "google_project_iam_member.runtime_secrets": "grant running flows {role}, for secrets of this pool's jobs alone",
    "google_project_iam_member.runtime": "grant running flows {role}",
    "google_project_iam_custom_role": "a custom role {role_id}",
    "google_project_iam_member": "grant {member} {role}",
    "terraform_data": "a note, in the state, of who applied the pool first: they may act as the launcher",
    "google_service_account_iam_member.impersonators": "grant {member} the right to act as the launcher",
    "google_service_account_iam_member": "grant {member} {role} on a service account",
    "google_artifact_registry_repository_iam_member": "grant {member} {role} on the repository",
    "google_storage_bucket": "a bucket {name} for code",
    "google_storage_bucket_iam_member": "grant running flows {role} on that bucket",
    "google_vpc_access_connector": "a VPC connector {name}, which jobs reach the network {network} by",
}
