"""What reads each field of the spec and of the settings: the module, and the words in it that read the field.

No field leaves the schema, and none is there for nothing: `UNREAD` has the only one that waits for its reader.
"""

from collections.abc import Iterator

from pydantic import BaseModel

_API, _OPERATOR, _RUNTIME = "api/kubedistill", "operator/kubedistill_operator", "runtime/kubedistill_runtime"
_CHILDREN, _DECISIONS = f"{_OPERATOR}/children", f"{_OPERATOR}/decisions"
_CHOICES, _LOOP, _GATE = (
    f"{_RUNTIME}/choices.py",
    f"{_RUNTIME}/training/loop.py",
    f"{_RUNTIME}/evaluation/gate.py",
)
_DATA_FILES, _REMOTE = f"{_RUNTIME}/data_files.py", f"{_RUNTIME}/teachers/remote.py"
_SCHEDULE, _YIELDS = f"{_RUNTIME}/training/schedule.py", f"{_RUNTIME}/checks/yields.py"
_EQUALITY = f"{_RUNTIME}/evaluation/metrics/normalization.py"
_EVALUATE = f"{_RUNTIME}/stages/evaluate.py"
_LAYOUT, _PODS, _RAYJOB = f"{_API}/placement/layout.py", f"{_CHILDREN}/pods.py", f"{_CHILDREN}/rayjob.py"
_ACCOUNTING, _PROGRESS, _STOPPING, _WAITING = (
    f"{_DECISIONS}/{name}.py" for name in ("accounting", "progress", "stopping", "waiting")
)
_SPLITS, _STAGES = ("train", "validation", "test"), ("prepare", "generate", "curate", "train", "evaluate", "export")

SPEC: dict[str, tuple[str, str]] = {
    "task.type": (f"{_RUNTIME}/checks/data.py", "TASKS[task.type]"),
    "task.labels": (f"{_API}/v1alpha1/task.py", "else self.labels"),
    "task.systemPrompt": (f"{_RUNTIME}/checks/data.py", "task.system_prompt"),
    "task.prompt": (f"{_RUNTIME}/checks/data.py", "task.prompt"),
    "task.answer.regex": (f"{_RUNTIME}/tasks/text.py", "form.regex"),
    "task.answer.jsonSchema": (f"{_RUNTIME}/tasks/text.py", "form.json_schema"),
    "task.answer.labels": (f"{_RUNTIME}/tasks/text.py", "form.labels"),
    "task.chainOfThought": (f"{_RUNTIME}/tasks/reasoning.py", "task.chain_of_thought"),
    "task.keepReasoning": (f"{_RUNTIME}/tasks/reasoning.py", "task.keep_reasoning"),
    "task.maxSummaryWords": (f"{_RUNTIME}/tasks/reasoning.py", "task.max_summary_words"),
    "task.chainOfDensity": (f"{_RUNTIME}/tasks/reasoning.py", "task.chain_of_density"),
    "task.date": (_CHOICES, "job.spec.task.date"),
    "teachers[].name": (f"{_API}/v1alpha1/job.py", 'keyed_by("name")'),  # the API server merges the list by it
    "teachers[].model.source": (_CHOICES, "model.source"),
    "teachers[].model.revision": (_CHOICES, "model.revision"),
    "teachers[].model.maxModelLen": (_CHOICES, "teacher.model.max_model_len"),
    "teachers[].model.dtype": (_CHOICES, "teacher.model.dtype"),
    "teachers[].model.quantization": (f"{_RUNTIME}/teachers/served.py", "spec.quantization"),
    "teachers[].model.kvCacheDtype": (f"{_RUNTIME}/teachers/served.py", "spec.kv_cache_dtype"),
    "teachers[].model.tensorParallelSize": (_LAYOUT, "model.tensor_parallel_size"),
    "teachers[].model.pipelineParallelSize": (_LAYOUT, "model.pipeline_parallel_size"),
    "teachers[].model.expertParallel": (f"{_RUNTIME}/teachers/served.py", "spec.expert_parallel"),
    "teachers[].model.gpuMemoryUtilization": (f"{_RUNTIME}/teachers/served.py", "spec.gpu_memory_utilization"),
    "teachers[].model.engineArgs": (f"{_API}/v1alpha1/models.py", "self.engine_args"),
    "teachers[].model.trustRemoteCode": (_CHOICES, "model.trust_remote_code"),
    "teachers[].model.chatTemplateKwargs": (f"{_API}/v1alpha1/models.py", "self.chat_template_kwargs"),
    "teachers[].endpoint.api": (_REMOTE, "endpoint.api"),
    "teachers[].endpoint.model": (_REMOTE, "endpoint.model"),
    "teachers[].endpoint.url": (_REMOTE, "endpoint.url"),
    "teachers[].endpoint.apiVersion": (_REMOTE, "endpoint.api_version"),
    "teachers[].endpoint.tokenizer": (_CHOICES, "endpoint.tokenizer"),
    "teachers[].endpoint.secretKeyRef.name": (_PODS, "ref.name"),
    "teachers[].endpoint.secretKeyRef.key": (_PODS, "ref.key"),
    "teachers[].endpoint.requestsPerMinute": (_REMOTE, "endpoint.requests_per_minute"),
    "teachers[].endpoint.tokensPerMinute": (_REMOTE, "endpoint.tokens_per_minute"),
    "teachers[].endpoint.maxInFlight": (_REMOTE, "endpoint.max_in_flight"),
    "teachers[].endpoint.prices.input": (f"{_API}/v1alpha1/models.py", "self.input"),
    "teachers[].endpoint.prices.output": (f"{_API}/v1alpha1/models.py", "self.output"),
    "teachers[].match.tag": (f"{_RUNTIME}/teachers/routing.py", "match.tag"),
    "teachers[].weight": (f"{_RUNTIME}/teachers/routing.py", "teacher.weight"),
    "teachers[].resources.pool": (_LAYOUT, "teacher.resources.pool"),
    "teachers[].resources.replicas": (_LAYOUT, "resources.replicas"),
    "student.model.source": (_CHOICES, "model.source"),
    "student.model.revision": (_CHOICES, "model.revision"),
    "student.model.trustRemoteCode": (_CHOICES, "model.trust_remote_code"),
    "student.resources.pool": (_LAYOUT, "student.resources.pool"),
    "student.resources.workers": (_LAYOUT, "student.workers"),
    "student.resources.gpusPerWorker": (_LAYOUT, "student.gpus_per_worker"),
    **{
        f"data.{split}.{field}": (_DATA_FILES, words)
        for split in _SPLITS
        for field, words in (
            ("uri", "local_path(source.uri"),
            ("configMapKeyRef.name", "reference.name"),
            ("configMapKeyRef.key", "reference.key"),
        )
    },
    "data.train.answers": (_CHOICES, "data.train.answers"),
    "data.redact": (f"{_RUNTIME}/redaction.py", "job.spec.data.redact"),
    "data.train.targets": (f"{_RUNTIME}/stages/curate.py", "data.train.targets"),
    "generation.structuredOutput": (f"{_RUNTIME}/constraints.py", "generation.structured_output"),
    "generation.routing": (f"{_RUNTIME}/keys.py", "generation.routing"),
    "generation.temperature": (_CHOICES, "generation.temperature"),
    "generation.topP": (_CHOICES, "generation.top_p"),
    "generation.maxTokens": (_CHOICES, "generation.max_tokens"),
    "generation.samplesPerPrompt": (_CHOICES, "generation.samples_per_prompt"),
    "generation.topLogprobs": (_CHOICES, "generation.top_logprobs"),
    "generation.seed": (f"{_RUNTIME}/stages/generate.py", "generation.seed"),
    "generation.minSuccessRatio": (_YIELDS, "generation.min_success_ratio"),
    "curation.traceLength": (_CHOICES, "curation.trace_length"),
    **{
        f"curation.filters.{name}": (f"{_RUNTIME}/curation/filters.py", f'switch="{name}"')
        for name in ("format", "refusal", "language", "length", "repetition", "duplicates")
    },
    "curation.filters.nearDuplicates": (f"{_RUNTIME}/curation/filters.py", 'switch="near_duplicates"'),
    "curation.select": (f"{_RUNTIME}/curation/selection.py", "curation.select"),
    "curation.maxShare": (f"{_RUNTIME}/curation/balance.py", "curation.max_share"),
    "curation.minKeepRatio": (_YIELDS, "curation.min_keep_ratio"),
    "training.objective.type": (_CHOICES, "training.objective.type"),
    "training.objective.ceWeight": (_CHOICES, "training.objective.ce_weight"),
    "training.optimizer.learningRate": (_LOOP, "optimizer.learning_rate"),
    "training.optimizer.weightDecay": (_LOOP, "settings.weight_decay"),
    "training.optimizer.betas": (_LOOP, "settings.betas"),
    "training.optimizer.scheduler": (_SCHEDULE, "optimizer.scheduler"),
    "training.optimizer.warmupRatio": (_SCHEDULE, "optimizer.warmup_ratio"),
    "training.optimizer.maxGradNorm": (_LOOP, "optimizer.max_grad_norm"),
    "training.epochs": (_SCHEDULE, "training.epochs"),
    "training.maxSteps": (_SCHEDULE, "training.max_steps"),
    "training.globalBatchSize": (_SCHEDULE, "training.global_batch_size"),
    "training.microBatchSize": (_LOOP, "training.micro_batch_size"),
    "training.maxLength": (_CHOICES, "training.max_length"),
    "training.precision": (_CHOICES, "training.precision"),
    "training.seed": (_LOOP, "training.seed"),
    "training.validation.everySteps": (_LOOP, "validation.every_steps"),
    "training.validation.patience": (_LOOP, "validation.patience"),
    "training.validation.keepBest": (_LOOP, "validation.keep_best"),
    "training.checkpoint.everyMinutes": (_LOOP, "checkpoint.every_minutes"),
    "training.checkpoint.keepLast": (f"{_RUNTIME}/training/workers.py", "checkpoint.keep_last"),
    "evaluation.sampleLimit": (_EVALUATE, "evaluation.sample_limit"),
    "evaluation.answerComparison": (_EQUALITY, "evaluation.answer_comparison"),
    "evaluation.gate.minAccuracy": (_GATE, "gate.min_accuracy"),
    "evaluation.gate.minGain": (_GATE, "gate.min_gain"),
    "evaluation.gate.minGapClosed": (_GATE, "gate.min_gap_closed"),
    "evaluation.gate.minRetention": (_GATE, "gate.min_retention"),
    "evaluation.gate.maxLatencyRatio": (_GATE, "gate.max_latency_ratio"),
    "evaluation.gate.maxInvalidRate": (_GATE, "gate.max_invalid_rate"),
    "evaluation.gate.requireSignificance": (_GATE, "gate.require_significance"),
    "export[].format": (f"{_RUNTIME}/stages/export.py", "export.format"),
    "export[].uri": (f"{_RUNTIME}/export/folders.py", "export.uri"),
    "storage.uri": (f"{_DECISIONS}/stores.py", "spec.storage.uri"),
    "storage.volumeClaim": (f"{_DECISIONS}/run_snapshot.py", "spec.storage.volume_claim"),
    "runID": (f"{_API}/client/job.py", "spec.run_id"),
    "suspend": (f"{_DECISIONS}/suspension.py", "spec.suspend"),
    "budget.dollars": (f"{_API}/v1alpha1/budget.py", "self.dollars"),
    "budget.gpuHours": (f"{_API}/v1alpha1/budget.py", "self.gpu_hours"),
    "queue.name": (f"{_CHILDREN}/request.py", "queue.name"),
    "queue.priorityClass": (f"{_CHILDREN}/request.py", "queue.priority_class"),
    "retry.maxFailures": (_ACCOUNTING, "retry.max_failures"),
    "retry.maxInfrastructureFailures": (_ACCOUNTING, "retry.max_infrastructure_failures"),
    "retry.maxPreemptions": (_ACCOUNTING, "retry.max_preemptions"),
    "modelCache.volumeClaim": (f"{_CHILDREN}/model_cache.py", "cache.volume_claim"),
    "modelCache.path": (f"{_CHILDREN}/model_cache.py", "model_cache.path"),
    "pods.serviceAccountName": (f"{_CHILDREN}/request.py", "pods.service_account_name"),
    "pods.imagePullSecrets": (_PODS, "pods.image_pull_secrets"),
    "pods.envFromSecrets": (_PODS, "pods.env_from_secrets"),
    "pods.labels": (_PODS, "pods.labels"),
    "pods.annotations": (_PODS, "pods.annotations"),
    "pods.priorityClassName": (_PODS, "pods.priority_class_name"),
    **{
        f"stages.{stage}.{field}": (_LAYOUT, f"override.{field}")
        for stage in _STAGES
        for field in ("pool", "cpu", "memory")
    },
    "activeDeadlineSeconds": (_STOPPING, "active_deadline_seconds"),
    "schedulingTimeoutSeconds": (_WAITING, "scheduling_timeout_seconds"),
    "startupTimeoutSeconds": (_PROGRESS, "startup_timeout_seconds"),
    "noProgressTimeoutSeconds": (_PROGRESS, "no_progress_timeout_seconds"),
    "childRetentionSeconds": (f"{_DECISIONS}/attempts.py", "child_retention_seconds"),
}
SETTINGS: dict[str, tuple[str, str]] = {
    "pools.*.nodeSelector": (_PODS, "pool.node_selector"),
    "pools.*.tolerations[].key": (_PODS, '("key", "operator", "value", "effect")'),
    "pools.*.tolerations[].operator": (_PODS, '("key", "operator", "value", "effect")'),
    "pools.*.tolerations[].value": (_PODS, '("key", "operator", "value", "effect")'),
    "pools.*.tolerations[].effect": (_PODS, '("key", "operator", "value", "effect")'),
    "pools.*.gpuResource": (_PODS, "pool.gpu_resource"),
    "pools.*.gpusPerNode": (_LAYOUT, "pool.gpus_per_node"),
    "pools.*.cpuPerGpu": (_LAYOUT, "pool.cpu_per_gpu"),
    "pools.*.hostMemoryPerGpu": (_LAYOUT, "pool.host_memory_per_gpu"),
    "pools.*.ephemeralStorage": (_LAYOUT, "pool.ephemeral_storage"),
    "pools.*.scratch.size": (f"{_CHILDREN}/model_cache.py", "pool.scratch.size"),
    "pools.*.scratch.storageClass": (f"{_CHILDREN}/model_cache.py", "pool.scratch.storage_class"),
    "pools.*.accelerator": (f"{_API}/placement/hardware.py", "pool.accelerator"),
    "pools.*.memoryPerGpu": (f"{_API}/placement/hardware.py", "pool.memory_per_gpu"),
    "pools.*.env": (_PODS, "placement.pool.env"),
    "pools.*.resources": (_PODS, "placement.pool.resources"),
    "pools.*.runtimeClassName": (_PODS, "pool.runtime_class_name"),
    "pools.*.pricePerGpuHour": (f"{_API}/placement/prices.py", "pool.price_per_gpu_hour"),
    "pools.*.allowedNamespaces": (_LAYOUT, "pool.allowed_namespaces"),
    "pools.*.maxGpusPerNamespace": (f"{_DECISIONS}/pool_limits.py", "pool.max_gpus_per_namespace"),
    "cpuResources.cpu": (_LAYOUT, "resources.cpu"),
    "cpuResources.memory": (_LAYOUT, "resources.memory"),
    "cpuResources.ephemeralStorage": (_LAYOUT, "resources.ephemeral_storage"),
    "cpuLimits": (_PODS, "settings.cpu_limits"),
    "podSecurityContext.runAsUser": (_PODS, "settings.pod_security_context.model_dump"),
    "podSecurityContext.runAsGroup": (_PODS, "settings.pod_security_context.model_dump"),
    "podSecurityContext.fsGroup": (_PODS, "settings.pod_security_context.model_dump"),
    "podSecurityContext.fsGroupChangePolicy": (_PODS, "settings.pod_security_context.model_dump"),
    "topologySpread.*.maxSkew": (_RAYJOB, "spread.max_skew"),
    "topologySpread.*.whenUnsatisfiable": (_RAYJOB, "spread.when_unsatisfiable"),
    "schedulerName": (_PODS, "settings.scheduler_name"),
    "proxy.httpProxy": (f"{_CHILDREN}/network.py", "proxy.http_proxy"),
    "proxy.httpsProxy": (f"{_CHILDREN}/network.py", "proxy.https_proxy"),
    "proxy.noProxy": (f"{_CHILDREN}/network.py", "proxy.no_proxy"),
    "caBundle.configMap": (_PODS, "bundle.config_map"),
    "caBundle.key": (_PODS, "bundle.key"),
    "images.runtime": (_PODS, "images.runtime if"),
    "images.runtimeCpu": (_PODS, "images.runtime_cpu,"),
    "images.registry": (_PODS, "images.registry"),
    "images.pullPolicy": (_PODS, "images.pull_policy"),
    "images.pullSecrets": (_PODS, "images.pull_secrets"),
    "rayVersion": (_RAYJOB, "settings.ray_version"),
    "submissionMode": (_RAYJOB, "settings.submission_mode"),
    "storage.uri": (f"{_DECISIONS}/stores.py", "storage.uri.rstrip"),
    "storage.shared[].uri": (f"{_DECISIONS}/stores.py", "group.uri"),
    "storage.shared[].namespaces": (f"{_DECISIONS}/stores.py", "group.namespaces"),
    "storage.volumeClaim": (f"{_DECISIONS}/run_snapshot.py", "settings.storage.volume_claim"),
    "storage.singleNode": (f"{_DECISIONS}/placement.py", "settings.storage.single_node"),
    "watchNamespaces": (f"{_OPERATOR}/loop/replica.py", "settings.watch_namespaces"),
    "maxActiveJobsPerNamespace": (f"{_DECISIONS}/attempts.py", "settings.max_active_jobs_per_namespace"),
    "onRestore": (f"{_DECISIONS}/lifecycle.py", "settings.on_restore"),
    "nodeLostSeconds": (f"{_DECISIONS}/context.py", "settings.node_lost_seconds"),
    "scaleUpGraceSeconds": (f"{_DECISIONS}/diagnosis.py", "settings.scale_up_grace_seconds"),
    "resyncSeconds": (f"{_OPERATOR}/loop/watch.py", "resync_seconds"),
    "port": (f"{_OPERATOR}/loop/replica.py", "settings.port"),
    "mesh": (_PODS, "settings.mesh"),
    "rbac.events": (f"{_OPERATOR}/cluster/observation.py", "rbac.events"),
    "rbac.nodes": (f"{_OPERATOR}/cluster/observation.py", "rbac.nodes"),
    "rbac.createServiceAccounts": (f"{_CHILDREN}/attempt.py", "rbac.create_service_accounts"),
    "propagateLabels": (f"{_DECISIONS}/cost_labels.py", "settings.propagate_labels"),
    "policy.allowDataCode": (f"{_DECISIONS}/policy.py", "policy.allow_data_code"),
    "policy.allowTrustRemoteCode": (f"{_DECISIONS}/policy.py", "policy.allow_trust_remote_code"),
    "policy.allowedSources": (f"{_DECISIONS}/policy.py", "policy.allowed_sources"),
}
UNREAD = {
    "spec": {"training.objective.temperature"},  # for losses over live logits; today it must be 1
    "settings": set(),
}


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields that hold values, with [] for an item of a list and * for a key, and their names in Python."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner = list(_models(field.annotation))
        if not inner:
            yield path, name
        step = {tuple: "[].", dict: ".*."}.get(getattr(field.annotation, "__origin__", None), ".")
        for one in inner:
            yield from leaves(one, f"{path}{step}")


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in getattr(annotation, "__args__", ()):
        yield from _models(one)
