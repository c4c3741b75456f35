"""What the policy in force says of each resource, beside it, so that lists, search and visibility are SQL."""

from typing import ClassVar

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models
from django.db.models import F, Func, Q

# Cut at what is neither letter nor digit; a lexeme has 2 kB at most. Not to_tsvector(): its parser takes
# orders/prod for a path and 8s for a number.
WORDS = """
CREATE FUNCTION stint_words(name text, kind text, tags text[], owner text, description text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_to_tsvector(ARRAY(
        SELECT DISTINCT left(w, 100) FROM regexp_split_to_table(
            lower(concat_ws(' ', name, kind, array_to_string(tags, ' '), owner, left(description, 4000))),
            '[^[:alnum:]]+') AS w
        WHERE w <> ''
    ))
$$;
GRANT EXECUTE ON FUNCTION stint_words(text, text, text[], text, text) TO stint_app;
"""

RIGHTS = {
    "grants_resource": (
        "SELECT, INSERT, UPDATE (name, description, parent_id, tags, seen_at, retired_at,"
        " owner_team, owner_person, hidden, rules_id)"
    ),
    "grants_ruleset": "SELECT, INSERT, DELETE",
}
GRANTS = "\n".join(f"GRANT {rights} ON {table} TO stint_app;" for table, rights in RIGHTS.items())

# Django's keys are deferred ones: they lock at COMMIT, after the head of the record.
KEYS = """
ALTER TABLE grants_ruleset ADD CONSTRAINT rule_set_of_version
    FOREIGN KEY (policy_version_id) REFERENCES grants_policyversion (id);
ALTER TABLE grants_resource ADD CONSTRAINT resource_has_rules FOREIGN KEY (rules_id) REFERENCES grants_ruleset (id);
"""
KEYS_AWAY = """
ALTER TABLE grants_resource DROP CONSTRAINT resource_has_rules;
ALTER TABLE grants_ruleset DROP CONSTRAINT rule_set_of_version;
"""


# What was here before is hidden, and nobody's, until a worker has judged it: no sync may come for an hour, or ever.
JUDGE = """
INSERT INTO grants_duejob (name, due_at)
SELECT 'judge', stint_now() WHERE EXISTS (SELECT FROM grants_resource) ON CONFLICT (name) DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("grants", "0017_restored")]
    operations: ClassVar = [
        migrations.CreateModel(
            name="RuleSet",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("kind", models.TextField()),
                (
                    "rules",
                    django.contrib.postgres.fields.ArrayField(base_field=models.TextField(), size=None),
                ),
                ("digest", models.TextField()),
                ("hidden", models.BooleanField()),
                (
                    "policy_version",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="grants.policyversion",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("policy_version", "digest"), name="rule_set_once"),
                ],
            },
        ),
        migrations.AddField("resource", "owner_team", models.TextField(blank=True, db_default="")),
        migrations.AddField("resource", "owner_person", models.TextField(blank=True, db_default="")),
        migrations.AddField("resource", "hidden", models.BooleanField(db_default=True)),
        migrations.AddField(
            "resource",
            "rules",
            models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="resources",
                to="grants.ruleset",
            ),
        ),
        migrations.RunSQL(WORDS, "DROP FUNCTION stint_words"),
        migrations.AddField(
            "resource",
            "words",
            models.GeneratedField(
                expression=Func(
                    F("name"), F("kind"), F("tags"), F("owner_team"), F("description"), function="stint_words"
                ),
                output_field=django.contrib.postgres.search.SearchVectorField(),
                db_persist=True,
            ),
        ),
        migrations.RemoveIndex("resource", "resource_name"),
        migrations.AddIndex("resource", models.Index(fields=["name", "id"], name="resource_by_name")),
        migrations.AddIndex(
            "resource",
            models.Index(fields=["owner_team", "name", "id"], condition=~Q(owner_team=""), name="resource_by_team"),
        ),
        migrations.AddIndex(
            "resource",
            models.Index(fields=["owner_person"], condition=~Q(owner_person=""), name="resource_by_person"),
        ),
        migrations.AddIndex(
            "resource", django.contrib.postgres.indexes.GinIndex(fields=["words"], name="resource_words")
        ),
        migrations.RunSQL(KEYS, KEYS_AWAY),
        migrations.RunSQL(JUDGE, "DELETE FROM grants_duejob WHERE name = 'judge'"),
        migrations.RunSQL(GRANTS, "REVOKE ALL ON grants_ruleset FROM stint_app"),
    ]
