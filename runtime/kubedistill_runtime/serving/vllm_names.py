"""The arguments of vLLM by name: those that a manifest may set, those that are fields of the spec, and all others.

Whatever a manifest may set is a number, a truth or a name that vLLM looks up in its own list. It may change the speed
of an engine, its memory, and the rounding of its kernels, but not which model answers or how, so it is in no key.
"""

from collections.abc import Mapping

ALLOWED: Mapping[str, type] = {
    # Batches and scheduling.
    "max_num_seqs": int,
    "max_num_batched_tokens": int,
    "max_num_active_seqs": int,
    "max_num_scheduled_tokens": int,
    "long_prefill_token_threshold": int,
    "long_prefill_token_threshold_adaptive": bool,
    "enable_chunked_prefill": bool,
    "async_scheduling": bool,
    "scheduler_reserve_full_isl": bool,
    "performance_mode": str,
    "enable_dbo": bool,
    "ubatch_size": int,
    "dbo_decode_token_threshold": int,
    "dbo_prefill_token_threshold": int,
    # The cache.
    "block_size": int,
    "enable_prefix_caching": bool,
    "prefix_cache_retention_interval": int,
    "kv_cache_memory_bytes": int,
    "cpu_offload_gb": float,
    "kv_offloading_size": float,
    "watermark": float,
    "disable_hybrid_kv_cache_manager": bool,
    "mamba_block_size": int,
    # Compilation.
    "enforce_eager": bool,
    "optimization_level": int,
    "max_cudagraph_capture_size": int,
    "enable_flashinfer_autotune": bool,
    # Kernels and communication.
    "attention_backend": str,
    "moe_backend": str,
    "linear_backend": str,
    "all2all_backend": str,
    "disable_cascade_attn": bool,
    "disable_custom_all_reduce": bool,
    "expert_placement_strategy": str,
    "decode_context_parallel_size": int,
}
FIELDS: Mapping[str, str] = {
    "model": "source",
    "revision": "revision",
    "dtype": "dtype",
    "quantization": "quantization",
    "kv_cache_dtype": "kvCacheDtype",
    "max_model_len": "maxModelLen",
    "tensor_parallel_size": "tensorParallelSize",
    "pipeline_parallel_size": "pipelineParallelSize",
    "enable_expert_parallel": "expertParallel",
    "gpu_memory_utilization": "gpuMemoryUtilization",
    "trust_remote_code": "trustRemoteCode",
}
"""Arguments that are fields of a teacher's model in the spec."""

_REASONS: Mapping[str, tuple[str, ...]] = {
    "kubedistill sets it itself": (
        "distributed_executor_backend", "max_logprobs", "logprobs_mode", "skip_tokenizer_init", "seed", "runner",
        "convert", "structured_outputs_config", "disable_log_stats", "tokens_only", "data_parallel_size",
        "data_parallel_backend", "use_tqdm_on_load", "generation_config", "enable_sleep_mode",
        "sleep_mode_offload_cudagraph", "sleep_preserve_parameter_names", "enable_cumem_allocator", "shutdown_timeout",
        "model_weights", "scheduling_policy", "max_num_queued_reqs", "max_num_queued_tokens", "stream_interval",
        "enable_prompt_embeds", "_api_process_count", "_api_process_rank", "fail_on_environ_validation",
    ),
    "it names a file, a folder, a module, a class or an address": (
        "tokenizer", "hf_config_path", "allowed_local_media_path", "allowed_media_domains", "download_dir",
        "served_model_name", "code_revision", "tokenizer_revision", "hf_token", "model_class_overrides",
        "reasoning_parser", "reasoning_parser_plugin", "mm_encoder_fp8_scale_path", "mm_encoder_fp8_scale_save_path",
        "io_processor_plugin", "otlp_traces_endpoint", "scheduler_cls", "worker_cls", "worker_extension_cls",
        "log_config_file", "logits_processors", "pt_load_map_location", "ignore_patterns", "spec_model",
        "kv_offloading_backend", "ray_workers_use_nsight",
    ),
    "it is an object or a list": (
        "hf_overrides", "model_loader_extra_config", "quantization_config", "compilation_config", "attention_config",
        "kernel_config", "engram_config", "mamba_config", "profiler_config", "logging_config", "kv_transfer_config",
        "kv_events_config", "ec_transfer_config", "ec_manager_config", "reasoning_config", "pooler_config",
        "speculative_config", "watermark_config", "diffusion_config", "aux_output_config", "eplb_config",
        "additional_config", "override_generation_config", "fault_tolerance_config", "weight_transfer_config",
        "ir_op_priority", "cudagraph_capture_sizes", "cpu_offload_params", "offload_params",
        "kv_cache_dtype_skip_layers", "numa_bind_nodes", "numa_bind_cpus", "device_ids", "custom_histogram_buckets",
        "collect_detailed_traces",
    ),
    "it changes how the checkpoint is read, or which answers it gives": (
        "tokenizer_mode", "load_format", "config_format", "model_impl", "safetensors_load_strategy",
        "safetensors_prefetch_num_threads", "safetensors_prefetch_block_size", "allow_deprecated_quantization",
        "disable_sliding_window", "use_fp64_gumbel", "enable_trace_replay", "kv_sharing_fast_prefill",
        "swa_bounded_replay", "mamba_cache_dtype", "mamba_ssm_cache_dtype", "enable_mamba_cache_stochastic_rounding",
        "mamba_cache_philox_rounds", "use_replayssm", "replayssm_buffer_len", "spec_method", "spec_tokens",
        "num_gpu_blocks_override", "max_parallel_loading_workers",
    ),
    "the job's pods and their GPUs are laid out for tensor and pipeline parallelism only": (
        "master_addr", "master_port", "nnodes", "node_rank", "distributed_timeout_seconds", "prefill_schedule_interval",
        "cpu_distributed_timeout_seconds", "numa_bind", "prefill_context_parallel_size", "dcp_comm_backend",
        "dcp_q_replicate", "dcp_kv_cache_interleave_size", "cp_kv_cache_interleave_size", "data_parallel_rank",
        "data_parallel_start_rank", "data_parallel_size_local", "data_parallel_address", "data_parallel_rpc_port",
        "data_parallel_hybrid_lb", "data_parallel_external_lb", "data_parallel_multi_port_external_lb", "enable_hc_sp",
        "enable_batch_sharded_sampling", "enable_ep_weight_filter", "enable_elastic_ep", "elastic_ep_max_dp_size",
        "dp_sync_interval", "disable_nccl_for_dp_synchronization", "enable_eplb", "enable_fault_tolerance",
        "enable_nccl_comm_suspend", "enable_shm_tensor_arena",
    ),
    "records have text and no other media": (
        "language_model_only", "limit_mm_per_prompt", "enable_mm_embeds", "interleave_mm_strings", "media_io_kwargs",
        "mm_processor_kwargs", "mm_processor_cache_gb", "mm_processor_cache_type", "mm_hasher_algorithm",
        "mm_shm_cache_max_object_size_mb", "mm_encoder_only", "mm_encoder_tp_mode", "mm_encoder_attn_backend",
        "mm_encoder_attn_dtype", "mm_encoder_fp8_scale_save_margin", "renderer_num_workers", "skip_mm_profiling",
        "video_pruning_rate", "video_pruning_method", "mm_tensor_ipc", "mm_processor_device", "mm_ipc_gpu_memory_gb",
        "mm_device_do_normalize", "disable_chunked_mm_input",
    ),
    "teachers are served without adapters": (
        "enable_lora", "max_loras", "max_lora_rank", "default_mm_loras", "fully_sharded_loras", "max_cpu_loras",
        "lora_dtype", "lora_target_modules", "enable_tower_connector_lora", "specialize_active_lora",
        "enable_mixed_moe_lora_format", "enable_moe_shared_loras", "max_lora_cls_labels",
    ),
    "it adds output that nothing reads": (
        "enable_return_routed_experts", "return_sampling_mask", "aggregate_engine_logging",
        "show_hidden_metrics_for_version", "per_request_spec_decode_metrics", "kv_cache_metrics",
        "kv_cache_metrics_sample", "cudagraph_metrics", "enable_layerwise_nvtx_tracing", "enable_mfu_metrics",
        "enable_logging_iteration_details", "jit_monitor_mode", "jit_monitor_verbose", "enable_mm_processor_stats",
        "log_level",
    ),
    "vLLM chooses it for the model and the GPU": (
        "prefix_caching_hash_algo", "sparse_indexer_topk_backend", "offload_backend", "offload_group_size",
        "offload_num_in_group", "offload_prefetch_step", "prefix_match_unit", "mamba_cache_mode",
        "enable_mamba_shared_prefix_checkpoint", "mamba_backend", "mamba_ssu_algorithm", "gdn_prefill_backend",
        "kda_prefill_backend", "kda_decode_backend",
    ),
}  # fmt: skip
REFUSED: Mapping[str, str] = {name: why for why, names in _REASONS.items() for name in names}
"""All other arguments, each with the reason why a manifest can't set it."""
