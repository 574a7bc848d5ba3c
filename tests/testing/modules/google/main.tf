terraform {
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.0"
    }
  }
}

variable "project" {
  type = string
}

variable "repository" {
  type    = string
  default = "flows"
}

variable "description" {
  type    = string
  default = "images"
}

provider "google" {
  project = var.project
  region  = "europe-west1"
}

data "google_project" "this" {}

resource "google_project_service" "api" {
  for_each           = toset(["artifactregistry.googleapis.com", "run.googleapis.com"])
  service            = each.key
  disable_on_destroy = false
}

resource "google_artifact_registry_repository" "flows" {
  location      = "europe-west1"
  repository_id = var.repository
  format        = "DOCKER"
  description   = var.description
  depends_on    = [google_project_service.api]
}

resource "google_service_account" "runner" {
  account_id   = "flow-runner"
  display_name = "runs flows"
}

resource "google_project_iam_member" "runner" {
  for_each = toset(["roles/run.developer", "roles/logging.viewer"])
  project  = data.google_project.this.project_id
  role     = each.key
  member   = google_service_account.runner.member
}

resource "google_service_account_key" "runner" {
  service_account_id = google_service_account.runner.name
}

resource "google_cloud_run_v2_job" "flow" {
  name                = "flow"
  location            = "europe-west1"
  deletion_protection = false
  depends_on          = [google_project_service.api]

  template {
    template {
      service_account = google_service_account.runner.email
      max_retries     = 0

      containers {
        image = "${google_artifact_registry_repository.flows.registry_uri}/flow:1"

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }
      }
    }
  }
}

output "registry" {
  value = google_artifact_registry_repository.flows.registry_uri
}

output "key" {
  value     = google_service_account_key.runner.private_key
  sensitive = true
}
