"""What a customer owes: subscriptions, periods and invoice lines."""
