CREATE TABLE blocks (
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  name TEXT NOT NULL,
  data TEXT NOT NULL,
  key_id TEXT,
  created_at DOUBLE NOT NULL,
  updated_at DOUBLE NOT NULL,
  CONSTRAINT pk_blocks PRIMARY KEY (id),
  CONSTRAINT uq_blocks_type_name UNIQUE (type, name)
);
CREATE TABLE flow_runs (
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  deployment_id TEXT,
  flow_name TEXT NOT NULL,
  pool_id TEXT NOT NULL,
  queue_id TEXT NOT NULL,
  state TEXT DEFAULT 'scheduled' NOT NULL,
  reason TEXT,
  attempt INTEGER DEFAULT 1 NOT NULL,
  parameters TEXT DEFAULT '{}' NOT NULL,
  job_variables TEXT DEFAULT '{}' NOT NULL,
  tags TEXT DEFAULT '[]' NOT NULL,
  scheduled_at DOUBLE NOT NULL,
  created_at DOUBLE NOT NULL,
  claimed_at DOUBLE,
  submitted_at DOUBLE,
  started_at DOUBLE,
  ended_at DOUBLE,
  worker_id TEXT,
  lease_expires_at DOUBLE,
  handle TEXT,
  request TEXT,
  cancel_requested BOOLEAN DEFAULT FALSE NOT NULL,
  exit_code INTEGER,
  log_cursor TEXT,
  logs_done BOOLEAN DEFAULT FALSE NOT NULL,
  removed BOOLEAN DEFAULT FALSE NOT NULL,
  timeout_seconds DOUBLE,
  retries INTEGER DEFAULT 0 NOT NULL,
  retry_delay_seconds DOUBLE DEFAULT 0 NOT NULL,
  idempotency_key TEXT,
  CONSTRAINT pk_flow_runs PRIMARY KEY (id),
  CONSTRAINT uq_flow_runs_deployment_id_idempotency_key UNIQUE (deployment_id, idempotency_key),
  CONSTRAINT ck_flow_runs_state CHECK (state IN ('scheduled', 'pending', 'submitted', 'running', 'completed', 'failed', 'crashed', 'cancelled'))
);
CREATE INDEX ix_flow_runs_created_at ON flow_runs (created_at);
CREATE INDEX ix_flow_runs_deployment_id_created_at ON flow_runs (deployment_id, created_at);
CREATE INDEX ix_flow_runs_due ON flow_runs (queue_id, scheduled_at) WHERE state = 'scheduled';
CREATE INDEX ix_flow_runs_held ON flow_runs (pool_id, lease_expires_at) WHERE worker_id IS NOT NULL;
CREATE INDEX ix_flow_runs_pool_id_created_at ON flow_runs (pool_id, created_at);
CREATE INDEX ix_flow_runs_state_created_at ON flow_runs (state, created_at);
CREATE TABLE pool_history (
  id TEXT NOT NULL,
  pool_id TEXT NOT NULL,
  pool_name TEXT NOT NULL,
  at DOUBLE NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  outcome TEXT NOT NULL,
  summary TEXT DEFAULT '{}' NOT NULL,
  plan_digest TEXT,
  error TEXT,
  CONSTRAINT pk_pool_history PRIMARY KEY (id)
);
CREATE INDEX ix_pool_history_pool_name_at ON pool_history (pool_name, at);
CREATE TABLE subscribers (
  plugin TEXT NOT NULL,
  owner TEXT,
  until DOUBLE,
  seen_at DOUBLE NOT NULL,
  CONSTRAINT pk_subscribers PRIMARY KEY (plugin)
);
CREATE TABLE work_pools (
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  plugin TEXT NOT NULL,
  plugin_version TEXT NOT NULL,
  contract INTEGER DEFAULT 1 NOT NULL,
  revision INTEGER DEFAULT 1 NOT NULL,
  state TEXT DEFAULT 'not-provisioned' NOT NULL,
  error TEXT,
  paused BOOLEAN DEFAULT FALSE NOT NULL,
  concurrency_limit INTEGER,
  variables TEXT DEFAULT '{}' NOT NULL,
  base_job_template TEXT DEFAULT '{}' NOT NULL,
  connection TEXT,
  identity TEXT,
  backend TEXT,
  engine_product TEXT,
  engine_version TEXT,
  credential_block TEXT,
  image_namespace TEXT,
  created_at DOUBLE NOT NULL,
  updated_at DOUBLE NOT NULL,
  CONSTRAINT pk_work_pools PRIMARY KEY (id),
  CONSTRAINT uq_work_pools_name UNIQUE (name),
  CONSTRAINT ck_work_pools_state CHECK (state IN ('not-provisioned', 'provisioning', 'ready', 'deprovisioning'))
);
CREATE TABLE workers (
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  pool_id TEXT,
  host TEXT NOT NULL,
  pid INTEGER NOT NULL,
  started_at DOUBLE NOT NULL,
  heartbeat_at DOUBLE NOT NULL,
  expires_at DOUBLE NOT NULL,
  CONSTRAINT pk_workers PRIMARY KEY (id)
);
CREATE TABLE flow_run_states (
  run_id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  state TEXT NOT NULL,
  at DOUBLE NOT NULL,
  reason TEXT,
  CONSTRAINT pk_flow_run_states PRIMARY KEY (run_id, seq),
  CONSTRAINT fk_flow_run_states_run_id FOREIGN KEY(run_id) REFERENCES flow_runs (id) ON DELETE CASCADE
);
CREATE TABLE logs (
  run_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at DOUBLE NOT NULL,
  line TEXT NOT NULL,
  CONSTRAINT pk_logs PRIMARY KEY (run_id, attempt, seq),
  CONSTRAINT fk_logs_run_id FOREIGN KEY(run_id) REFERENCES flow_runs (id) ON DELETE CASCADE
);
CREATE TABLE news (
  id INTEGER NOT NULL,
  plugin TEXT NOT NULL,
  run_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  at DOUBLE NOT NULL,
  CONSTRAINT pk_news PRIMARY KEY (id),
  CONSTRAINT fk_news_run_id FOREIGN KEY(run_id) REFERENCES flow_runs (id) ON DELETE CASCADE
);
CREATE INDEX ix_news_plugin_id ON news (plugin, id);
CREATE INDEX ix_news_run_id ON news (run_id);
CREATE TABLE pool_modules (
  pool_id TEXT NOT NULL,
  files TEXT DEFAULT '{}' NOT NULL,
  lock_file TEXT,
  digest TEXT NOT NULL,
  applied_at DOUBLE NOT NULL,
  CONSTRAINT pk_pool_modules PRIMARY KEY (pool_id),
  CONSTRAINT fk_pool_modules_pool_id FOREIGN KEY(pool_id) REFERENCES work_pools (id) ON DELETE CASCADE
);
CREATE TABLE work_queues (
  id TEXT NOT NULL,
  pool_id TEXT NOT NULL,
  name TEXT NOT NULL,
  priority INTEGER DEFAULT 1 NOT NULL,
  concurrency_limit INTEGER,
  paused BOOLEAN DEFAULT FALSE NOT NULL,
  CONSTRAINT pk_work_queues PRIMARY KEY (id),
  CONSTRAINT uq_work_queues_pool_id_name UNIQUE (pool_id, name),
  CONSTRAINT fk_work_queues_pool_id FOREIGN KEY(pool_id) REFERENCES work_pools (id) ON DELETE CASCADE
);
CREATE TABLE deployments (
  id TEXT NOT NULL,
  flow_name TEXT NOT NULL,
  name TEXT NOT NULL,
  pool_id TEXT NOT NULL,
  queue_id TEXT NOT NULL,
  entrypoint TEXT NOT NULL,
  source TEXT DEFAULT '{}' NOT NULL,
  parameters TEXT DEFAULT '{}' NOT NULL,
  parameter_schema TEXT DEFAULT '{}' NOT NULL,
  job_variables TEXT DEFAULT '{}' NOT NULL,
  options TEXT DEFAULT '{}' NOT NULL,
  tags TEXT DEFAULT '[]' NOT NULL,
  version TEXT,
  description TEXT,
  paused BOOLEAN DEFAULT FALSE NOT NULL,
  concurrency_limit INTEGER,
  collision TEXT DEFAULT 'enqueue' NOT NULL,
  created_at DOUBLE NOT NULL,
  updated_at DOUBLE NOT NULL,
  project TEXT,
  CONSTRAINT pk_deployments PRIMARY KEY (id),
  CONSTRAINT uq_deployments_flow_name_name UNIQUE (flow_name, name),
  CONSTRAINT ck_deployments_collision CHECK (collision IN ('enqueue', 'cancel-new')),
  CONSTRAINT fk_deployments_pool_id FOREIGN KEY(pool_id) REFERENCES work_pools (id) ON DELETE CASCADE,
  CONSTRAINT fk_deployments_queue_id FOREIGN KEY(queue_id) REFERENCES work_queues (id) ON DELETE CASCADE
);
CREATE INDEX ix_deployments_pool_id ON deployments (pool_id);
CREATE INDEX ix_deployments_queue_id ON deployments (queue_id);
CREATE TABLE schedules (
  id TEXT NOT NULL,
  deployment_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  expression TEXT NOT NULL,
  timezone TEXT NOT NULL,
  anchor DOUBLE,
  active BOOLEAN DEFAULT TRUE NOT NULL,
  parameters TEXT DEFAULT '{}' NOT NULL,
  next_at DOUBLE,
  slug TEXT,
  CONSTRAINT pk_schedules PRIMARY KEY (id),
  CONSTRAINT fk_schedules_deployment_id FOREIGN KEY(deployment_id) REFERENCES deployments (id) ON DELETE CASCADE
);
CREATE INDEX ix_schedules_deployment_id ON schedules (deployment_id);
CREATE INDEX ix_schedules_due ON schedules (next_at) WHERE active;
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY);
INSERT INTO alembic_version (version_num) VALUES ('0003');
