"""Which test brings each alert about: on a real or a scripted engine, or by the part that it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_REAL = "tests/integration/test_alerts.py"
_SCRIPTED = "tests/daemon/test_watch_catalogue.py"
_GPUS = "tests/integration/test_gpu_alerts.py"
_RELIEF = "tests/daemon/test_relief.py"
_OURSELVES = "tests/daemon/test_own_work.py"

TRIGGERS: Mapping[str, tuple[str, str]] = {
    "container-crashed": (_REAL, "test_a_killed_process_is_a_crash_told_with_its_last_log_lines"),
    "container-oom-killed": (_REAL, "test_a_kill_for_memory_is_only_that"),
    "container-restart-loop": (_REAL, "test_a_restart_loop_is_one_incident"),
    "container-unhealthy": (_REAL, "test_health_going_bad_and_good_is_told_and_over"),
    "container-start-failed": (_REAL, "test_a_failed_start_is_told_with_the_engines_words"),
    "container-health-flapping": (_SCRIPTED, "test_health_that_flaps_is_one_message_and_one_end"),
    "container-not-running": (
        _SCRIPTED,
        "test_a_service_that_ends_and_stays_down_is_told_after_five_minutes_and_over_when_it_runs",
    ),
    "container-stuck": (_SCRIPTED, "test_a_container_that_stays_paused_is_stuck"),
    "container-memory-near-limit": (_SCRIPTED, "test_memory_that_stays_near_the_limit_is_told_with_how_it_rose"),
    "engine-slow": (_SCRIPTED, "test_an_engine_that_answers_late_for_five_minutes_is_told"),
    "event-stream-stale": (_SCRIPTED, "test_events_that_do_not_come_are_told_and_over_when_they_do"),
    "disk-fill-predicted": (
        _SCRIPTED,
        "test_a_disk_that_will_be_full_is_told_and_part_of_the_alert_that_says_it_is",
    ),
    "disk-read-only": (_SCRIPTED, "test_a_disk_that_nobody_can_write_to_is_told_at_once"),
    "host-memory-low": (_SCRIPTED, "test_a_host_short_of_memory_is_told_though_docker_does_not_answer"),
    "host-oom": (_SCRIPTED, "test_a_machine_out_of_memory_is_told_once_with_whom_it_hit_and_over_by_itself"),
    "engine-down": ("tests/integration/test_engine_down.py", "test_a_killed_engine_is_told_as_crashed"),
    "disk-low": (
        "tests/integration/test_full_data_root.py",
        "test_a_data_root_that_is_too_full_comes_back_to_its_target_and_loses_no_more_than_that",
    ),
    "disk-relieved": (
        "tests/integration/test_full_data_root.py",
        "test_what_a_full_data_root_would_lose_is_shown_in_observe_and_goes_by_an_approval",
    ),
    "disk-target-missed": (_RELIEF, "test_people_are_told_of_a_full_disk_of_which_nothing_may_go"),
    "disk-not-docker": (_RELIEF, "test_people_are_told_what_a_cleanup_came_to"),
    "engine-stuck": ("tests/daemon/test_executor.py", "test_a_removal_that_takes_very_long_is_told"),
    "images-on-system-disk": (
        "tests/policies/test_store_place.py",
        "test_images_left_on_the_systems_disk_are_told",
    ),
    "container-log-large": ("tests/policies/test_logs.py", "test_a_large_log_is_told_with_what_does_not_limit_it"),
    "logs-large": (
        "tests/policies/test_logs.py",
        "test_all_logs_together_name_the_largest_and_count_who_has_no_limit",
    ),
    "container-gpu-refused": (
        _GPUS,
        "test_a_gpu_that_the_engine_cannot_give_is_told_by_one_alert_with_the_engines_words",
    ),
    "container-gpu-lost": (_GPUS, "test_a_lost_gpu_is_told_and_so_is_who_lost_it_and_its_return"),
    "container-gpu-missing": (_GPUS, "test_an_image_for_gpus_without_one_is_told"),
    "gpu-lost": (_GPUS, "test_a_lost_gpu_is_told_and_so_is_who_lost_it_and_its_return"),
    "gpu-xid": (_GPUS, "test_an_xid_error_is_told_with_what_to_do_and_whom_it_hits_and_45_never"),
    "gpu-xid-app": (_GPUS, "test_an_error_of_a_program_is_an_alert_of_its_own"),
    "gpu-thermal": (_GPUS, "test_heat_and_failing_memory_are_told"),
    "gpu-ecc": (_GPUS, "test_heat_and_failing_memory_are_told"),
    "gpu-idle": (_GPUS, "test_memory_that_is_held_without_use_is_told_with_its_holder"),
    "gpu-memory-orphan": (
        _GPUS,
        "test_the_end_of_a_container_says_which_gpu_it_held_and_what_is_left_there_is_an_orphan",
    ),
    "nvml-unavailable": (_GPUS, "test_gpus_that_cannot_be_read_at_all_are_told_with_who_asked_for_them"),
    "state-unsaved": (
        "tests/integration/test_full_disk.py",
        "test_a_disk_that_fills_up_under_it_is_told_and_loses_nothing",
    ),
    "notify-degraded": (_OURSELVES, "test_a_sink_that_needs_a_person_or_fails_for_five_minutes_takes_no_messages"),
    "job-overdue": (
        "tests/daemon/test_jobs.py",
        "test_a_job_that_does_not_end_well_for_long_is_overdue_and_one_that_is_only_rare_is_not",
    ),
    "config-reload-failed": (
        _OURSELVES,
        "test_of_a_bad_configuration_the_mistakes_are_told_and_not_the_frame_around_them",
    ),
    "cleanup-failed": (
        "tests/daemon/test_executor.py",
        "test_a_run_that_failed_is_a_fault_until_one_goes_well",
    ),
    "cleanup-awaiting-approval": (
        _OURSELVES,
        "test_something_waits_for_an_approval_only_in_a_mode_that_asks_for_one",
    ),
}
