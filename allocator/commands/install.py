"""`admitlb install`: the manifests of any overlay, printed, applied or removed, without a clone of the repository."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import yaml

from allocator.installation import overlay as overlays
from allocator.installation.image import Image, NotAnImage

if TYPE_CHECKING:
    from allocator.installation.kubectl import Kubectl

CANNOT = 2
_IMAGE, _FRR_IMAGE = "admitlb", "admitlb-frr"
_OPTIONS: Final = {_IMAGE: "--image", _FRR_IMAGE: "--frr-image"}
_WEBHOOKS: Final = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""RFC 1123, as the API server holds names of namespaces to it."""
_IMAGES: Final = re.compile(r"^\s*(?:- )?image: (\S+)$", re.MULTILINE)
_PLACEHOLDER: Final = "registry.example.org/"
"""Where the images of overlays are that are to be given a registry of one's own (RFC 2606: there is none)."""
_DEFINITION: Final = re.compile(r"^kind: CustomResourceDefinition$", re.MULTILINE)
_HOLD_POOLS: Final = ("CustomResourceDefinition", "Namespace")


STORED: Final = re.compile(r'"(\S+)" is invalid: .*storedVersions\[\d+\]: Invalid value: "(\w+)"')
"""What the API server says of a CRD that lacks a version of which objects may be stored."""


def _image(ctx: click.Context, param: click.Parameter, text: str | None) -> Image | None:
    try:
        return None if text is None else Image.parse(text)
    except NotAnImage as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _namespace(ctx: click.Context, param: click.Parameter, text: str) -> str:
    if text and not _LABEL.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is no name of a namespace; use at most 63 lower-case letters, digits and hyphens", ctx, param
        )
    return text


@click.command()
@click.option(
    "--overlay",
    type=click.Choice(overlays.overlays()),
    default=overlays.DEFAULT,
    show_default=True,
    help="Which overlay; kustomize/README.md says what each is.",
)
@click.option(
    "--component",
    "components",
    type=click.Choice(overlays.components()),
    multiple=True,
    help="A component to add to it; repeatable, in any order.",
)
@click.option("--image", callback=_image, metavar="IMAGE", help="The image of AdmitLB; by default the overlay's.")
@click.option("--frr-image", callback=_image, metavar="IMAGE", help="The image of FRR, with the component bgp.")
@click.option(
    "-n",
    "--namespace",
    "--admitlb-namespace",
    "namespace",
    envvar="ADMITLB_NAMESPACE",
    default="",
    callback=_namespace,
    help="The namespace to install into; by default metallb-system.",
)
@click.option("--apply", "applies", is_flag=True, help="Apply the manifests by kubectl; an upgrade is the same.")
@click.option("--remove", "removes", is_flag=True, help="Remove everything, every pool included, by kubectl.")
@click.option(
    "--keep-pools",
    is_flag=True,
    help="With --remove: keep the CustomResourceDefinitions and the namespace, and so pools and what is assigned.",
)
@click.option("--yes", is_flag=True, help="With --remove: do not ask.")
@click.argument("kubectl_options", metavar="[-- KUBECTL-OPTION...]", nargs=-1)
def install(
    overlay: str,
    components: tuple[str, ...],
    image: Image | None,
    frr_image: Image | None,
    namespace: str,
    applies: bool,
    removes: bool,
    keep_pools: bool,
    yes: bool,
    kubectl_options: tuple[str, ...],
) -> None:
    """Print the manifests of an overlay, or have kubectl apply or remove them.

    kubectl 1.21 or newer must be on PATH: it renders the overlay, also where it is only printed. What follows -- goes
    to kubectl apply or delete, as in: admitlb install --apply -- --context lab --dry-run=server. Exit code 0: done;
    1: not confirmed; 2: kubectl is missing or failed, or would apply an image that is a placeholder.
    """
    from allocator.installation.kubectl import Kubectl, KubectlFailed  # noqa: PLC0415  brings subprocess

    if applies and removes:
        raise click.UsageError("--apply and --remove exclude each other")
    if not removes and (keep_pools or yes):
        raise click.UsageError("--keep-pools and --yes go with --remove")
    if not (applies or removes) and kubectl_options:
        raise click.UsageError("options for kubectl go with --apply or --remove")
    images = {name: one for name, one in ((_IMAGE, image), (_FRR_IMAGE, frr_image)) if one is not None}
    choices = overlays.Choices(overlay=overlay, components=components, images=images, namespace=namespace)
    try:
        kubectl = Kubectl(kubectl_options)
        with tempfile.TemporaryDirectory(prefix="admitlb-") as folder:
            manifests = kubectl.render(overlays.write(choices, Path(folder).resolve()))
        _check_images(set(_IMAGES.findall(manifests)), images, applied=applies)
        if applies:
            _check_stored_versions(kubectl, manifests)
            kubectl.apply(manifests)
        elif removes:
            _remove(kubectl, manifests, keep=_HOLD_POOLS if keep_pools else (), ask=not yes)
        else:
            click.echo(manifests, nl=False)
    except KubectlFailed as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(CANNOT)


def _check_images(used: Collection[str], chosen: Mapping[str, Image], *, applied: bool) -> None:
    """End the program where Pods would run an image that cannot exist, or none would run one that was chosen."""
    frr = chosen.get(_FRR_IMAGE)
    if frr is not None and not any(image.startswith(frr.name) for image in used):
        raise click.UsageError("--frr-image is for the component bgp, which is not chosen: add --component bgp")
    if not applied:
        return
    if placeholder := min((image for image in used if image.startswith(_PLACEHOLDER)), default=""):
        raise click.UsageError(f"the overlay's image {placeholder} is a placeholder: name yours with --image")
    named = {one.name for one in chosen.values()}
    local = sorted(image for image in used if image.partition(":")[0] in _OPTIONS.keys() - named)
    if local:
        options = " and ".join(dict.fromkeys(_OPTIONS[image.partition(":")[0]] for image in local))
        click.echo(
            f"Note: Pods will run {', '.join(local)}, which no registry has; name yours with {options}", err=True
        )


def _check_stored_versions(kubectl: Kubectl, manifests: str) -> None:
    """Find versions of which objects are stored and that the new CRDs lack, before half of all is applied."""
    from allocator.installation.kubectl import KubectlFailed  # noqa: PLC0415  brings subprocess

    definitions = [part for part in manifests.split("\n---\n") if _DEFINITION.search(part)]
    if not definitions:
        return
    try:
        kubectl.try_apply("\n---\n".join(definitions))
    except KubectlFailed as error:
        # Whatever else it is, applying says it.
        if found := STORED.search(str(error)):
            raise KubectlFailed(
                f"nothing was applied: objects of {found[1]} may be stored as {found[2]}, which the new CRD "
                "lacks; have them stored anew first: docs/migration.md, 'BGPPeers stored as v1beta1', says how"
            ) from error


def _remove(kubectl: Kubectl, manifests: str, *, keep: Collection[str], ask: bool) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = [one for one in yaml.load_all(manifests, Loader=loader) if one["kind"] not in keep]
    if ask:
        # A namespace that was there before may have more in it than what was installed.
        whole = ", ".join(one["metadata"]["name"] for one in documents if one["kind"] == "Namespace")
        lost = "" if keep else f", every pool, and namespace {whole} with everything in it"
        stays = ", and pools stay" if keep else ""
        click.confirm(
            f"Remove {len(documents)} objects{lost}? Then no Service's address is announced any more{stays}",
            abort=True,
            err=True,
        )
    # With the pods gone, the webhooks would refuse the deletion of pools.
    first = [one for one in documents if one["kind"] in _WEBHOOKS]
    for part in (first, [one for one in documents if one["kind"] not in _WEBHOOKS]):
        if part:
            kubectl.delete(yaml.safe_dump_all(part))
