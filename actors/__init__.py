"""Who acts: mailboxes, actors and their supervisors, then one file per kind of actor. Outside things through ports."""
