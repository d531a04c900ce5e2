"""`make preview`: runs the Pulumi program without a cloud account and reports the resources that it registers."""
