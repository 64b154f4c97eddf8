"""What is held in advance, and runs of agents: part of the table of all that is entered."""

from collections.abc import Sequence

from ledger.flows.reference import enter_grant
from ledger.flows.reference.resource import Ending, Resource
from ledger.store.billing.grants import RULE_ROWS
from ledger.wire import agent_answers, credit_answers, credit_inputs

CREDIT: Sequence[Resource] = (
    Resource(
        "grant",
        "grants",
        "what customers hold in advance",
        "grant_id",
        credit_answers.Grant,
        ("customer_id", "kind", "currency", "amount", "drawn", "expired", "left", "expires_on"),
        credit_inputs.NewGrant,
        enter_grant.enter_grant,
        seen_by="customers",
    ),
    Resource(
        "top-up rule",
        "top-up-rules",
        "when credit is low, and what is ordered then",
        "customer_id",
        credit_answers.TopUpRule,
        ("currency", "low_balance", "top_up_amount", "valid_from", "valid_to"),
        credit_inputs.NewTopUpRule,
        enter_grant.enter_top_up_rule,
        seen_by="customers",
        dated=True,
        ending=Ending(RULE_ROWS, ("currency",)),
    ),
    Resource(
        "credit balance",
        "credit-balances",
        "what of credit is drawn, expired and left",
        "customer_id",
        credit_answers.CreditBalance,
        ("currency", "granted", "drawn", "expired", "left", "usable", "low_balance"),
        seen_by="customers",
    ),
    Resource(
        "credit event",
        "credit-events",
        "what credit had to say, and top-up orders",
        "customer_id",
        credit_answers.CreditEvent,
        ("event_id", "currency", "kind", "about", "amount", "noticed_at"),
        seen_by="customers",
    ),
)
AGENTS: Sequence[Resource] = (
    Resource(
        "agent run",
        "agent-runs",
        "what runs of agents used, and who started them",
        "agent_run_id",
        agent_answers.AgentRun,
        ("customer_id", "agent_id", "parent_run_id", "steps", "lasted_s", "running", "amount"),
        seen_by="customers",
    ),
)
