"""Which function does which command. A handler changes rows through its `Work` and returns what the command answers."""

from collections.abc import Callable
from typing import Any

from actors.store import (
    alerts,
    branches,
    conversations,
    documents,
    hearers,
    indexing,
    jobs,
    outbox,
    people,
    projects,
    runs,
    watches,
)
from actors.store.work import Work
from perenne.messages import alert_commands as a
from perenne.messages import commands as c

Handler = Callable[[Work, Any], Any]

HANDLERS: dict[type[c.Command], Handler] = {
    c.CreateUser: people.create_user,
    c.CreateKey: people.create_key,
    c.RevokeKey: people.revoke_key,
    c.CreateProject: projects.create_project,
    c.RenameProject: projects.rename_project,
    c.DeleteProject: projects.delete_project,
    c.AddDocument: documents.add_document,
    c.AddJsonLines: documents.add_json_lines,
    c.LinkDocument: documents.link_document,
    c.UnlinkDocument: documents.unlink_document,
    c.DeleteDocument: documents.delete_document,
    c.AddWatch: watches.add_watch,
    c.RemoveWatch: watches.remove_watch,
    c.LeaseJobs: jobs.lease_jobs,
    c.RenewJob: jobs.renew_job,
    c.StoreDocuments: indexing.store_documents,
    c.FinishJob: jobs.finish_job,
    c.ReleaseJob: jobs.release_job,
    c.CancelJob: jobs.cancel_job,
    c.RetryJob: jobs.retry_job,
    c.CreateConversation: conversations.create_conversation,
    c.RenameConversation: conversations.rename_conversation,
    c.DeleteConversation: conversations.delete_conversation,
    c.PostMessage: conversations.post_message,
    c.RegenerateReply: conversations.regenerate_reply,
    c.ChooseBranch: branches.choose_branch,
    c.StopRun: runs.stop_run,
    c.StartAttempt: runs.start_attempt,
    c.AppendRunEvents: runs.append_run_events,
    a.RaiseAlert: alerts.raise_alert,
    a.ResolveAlert: alerts.resolve_alert,
    a.AcknowledgeAlert: alerts.acknowledge_alert,
    a.EscalateAlert: alerts.escalate_alert,
    a.SummarizeHeld: alerts.summarize_held,
    a.TestAlert: alerts.test_alert,
    a.ForgetAlerts: alerts.forget_alerts,
    a.CreateSilence: hearers.create_silence,
    a.DeleteSilence: hearers.delete_silence,
    a.CreateChannel: hearers.create_channel,
    a.RotateSecret: hearers.rotate_secret,
    a.DeleteChannel: hearers.delete_channel,
    a.CreateSubscriber: hearers.create_subscriber,
    a.DeleteSubscriber: hearers.delete_subscriber,
    a.LeaseDeliveries: outbox.lease_deliveries,
    a.FinishDelivery: outbox.finish_delivery,
    a.FailDelivery: outbox.fail_delivery,
    a.PostponeDelivery: outbox.postpone_delivery,
    a.RedeliverDelivery: outbox.redeliver_delivery,
}

# What can be made of a command before its transaction opens, outside the writer's thread.
PREPARERS: dict[type[c.Command], Callable[[Any], Any]] = {
    c.StoreDocuments: indexing.terms_of,
    c.AppendRunEvents: runs.rows_of,
}
