"""Microsoft's own libraries judge the stand-in: they sign in to it, page through a group, and send a batch."""
import asyncio
import sys

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientAssertionCredential, ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.groups.item.transitive_members.transitive_members_request_builder import (
    TransitiveMembersRequestBuilder,
)
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph_core.requests.batch_request_content import BatchRequestContent
from msgraph_core.requests.batch_request_item import BatchRequestItem

authority, tenant, app, secret, certificate, group, gone, user = sys.argv[1:]
common = {"authority": authority, "disable_instance_discovery": True}
scope = f"{authority}/.default"


def sign_in():
    """Each credential gets a token, and a wrong one Entra's error."""
    credentials = [
        ClientSecretCredential(tenant, app, secret, **common),
        CertificateCredential(tenant, app, certificate, **common),
        ClientAssertionCredential(tenant, app, lambda: "token.of.kubernetes", **common),
    ]
    for credential in credentials:
        token = credential.get_token(scope)
        assert token.token.count(".") == 2, token
    try:
        ClientSecretCredential(tenant, app, "wrong", **common).get_token(scope)
    except ClientAuthenticationError as error:
        assert "AADSTS7000215" in str(error), error
    else:
        raise AssertionError("a wrong secret")
    return credentials[0]


async def read(credential):
    provider = AzureIdentityAuthenticationProvider(credential, scopes=[scope], allowed_hosts=["localhost"])
    adapter = GraphRequestAdapter(provider)
    adapter.base_url = f"{authority}/v1.0"
    graph = GraphServiceClient(request_adapter=adapter)

    found = await graph.groups.by_group_id(group).get()
    assert found.id == group and found.display_name == "crowd" and found.security_enabled, found
    query = TransitiveMembersRequestBuilder.TransitiveMembersRequestBuilderGetQueryParameters(select=["id"], top=100)
    configuration = RequestConfiguration(query_parameters=query)
    members = graph.groups.by_group_id(group).transitive_members
    page = await members.get(request_configuration=configuration)
    assert len(page.value) == 100 and page.odata_next_link, page
    ids, pages = [entry.id for entry in page.value], 1
    while page.odata_next_link:
        page = await members.with_url(page.odata_next_link).get()
        ids += [entry.id for entry in page.value]
        pages += 1
    assert len(set(ids)) == len(ids), "nobody twice"

    try:
        await graph.groups.by_group_id(gone).get()
    except ODataError as error:
        assert error.response_status_code == 404 and error.error.code == "Request_ResourceNotFound", error
    else:
        raise AssertionError("a group that is none")

    batch = BatchRequestContent()
    for one in (user, gone):
        information = graph.users.by_user_id(one).to_get_request_information()
        batch.add_request(one, BatchRequestItem(request_information=information, id=one))
    answers = await graph.batch.post(batch)
    statuses = {one: answers.get_response_by_id(one).status for one in (user, gone)}
    assert statuses == {user: 200, gone: 404}, statuses
    return len(ids), pages


print(*asyncio.run(read(sign_in())))
