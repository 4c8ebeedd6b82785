/* SPDX-License-Identifier: Apache-2.0 */

/* Runs only in the confined child. */

#include "services/sandboxd/cni/plugin-result.h"
#include "lib/strings.h"
#include <arpa/inet.h>

#define PLUGIN_RESULT_TEXT_MAX 256 /* of a name, a hardware address, a path */

static bool plugin_string_is_valid(const json_t *value)
{
        return !value || (json_is_string(value) && json_string_length(value) <= PLUGIN_RESULT_TEXT_MAX);
}

/* "10.0.0.2/16" or "2001:db8::2/64": the address without its prefix length. */
static bool plugin_address_parse(const json_t *value, char address[INET6_ADDRSTRLEN])
{
        char bytes[sizeof(struct in6_addr)];
        uint64_t prefix;
        const char *text = json_string_value(value);
        const char *slash = text ? strchr(text, '/') : NULL;
        if (!slash || (size_t)(slash - text) >= INET6_ADDRSTRLEN)
                return false;
        memcpy(address, text, (size_t)(slash - text));
        address[slash - text] = '\0';
        int family = strchr(address, ':') ? AF_INET6 : AF_INET;
        return inet_pton(family, address, bytes) == 1 && u64_parse(slash + 1, family == AF_INET ? 32 : 128, &prefix);
}

static const char *plugin_result_check(const json_t *json)
{
        const json_t *interfaces = json_object_get(json, "interfaces");
        const json_t *ips = json_object_get(json, "ips");
        const json_t *servers = json_object_get(json_object_get(json, "dns"), "nameservers");
        char address[INET6_ADDRSTRLEN];

        if (!json_is_object(json))
                return "it is not a JSON object";
        if ((interfaces && !json_is_array(interfaces)) || json_array_size(interfaces) > PLUGIN_RESULT_INTERFACES_MAX)
                return "its interfaces are not a list, or too many";
        for (size_t i = 0; i < json_array_size(interfaces); i++) {
                const json_t *interface = json_array_get(interfaces, i);
                if (!json_is_object(interface) || !json_is_string(json_object_get(interface, "name")) ||
                    !plugin_string_is_valid(json_object_get(interface, "name")) ||
                    !plugin_string_is_valid(json_object_get(interface, "mac")) ||
                    !plugin_string_is_valid(json_object_get(interface, "sandbox")))
                        return "one of its interfaces has no name, or something that is no string";
        }
        if ((ips && !json_is_array(ips)) || json_array_size(ips) > PLUGIN_RESULT_IPS_MAX)
                return "its ips are not a list, or too many";
        for (size_t i = 0; i < json_array_size(ips); i++) {
                const json_t *interface = json_object_get(json_array_get(ips, i), "interface");
                if (!plugin_address_parse(json_object_get(json_array_get(ips, i), "address"), address))
                        return "one of its ips has no valid address with a prefix length";
                if (interface && (!json_is_integer(interface) || json_integer_value(interface) < 0 ||
                                  (uint64_t)json_integer_value(interface) >= json_array_size(interfaces)))
                        return "one of its ips names an interface that it does not list";
        }
        if ((servers && !json_is_array(servers)) || json_array_size(servers) > PLUGIN_RESULT_IPS_MAX)
                return "its dns.nameservers are not a list, or too many";
        for (size_t i = 0; i < json_array_size(servers); i++)
                if (!json_is_string(json_array_get(servers, i)) || !plugin_string_is_valid(json_array_get(servers, i)))
                        return "one of its dns.nameservers is not a string";
        return NULL;
}

json_t *plugin_result_parse(const char *bytes, size_t n, char why[256])
{
        json_error_t error = {0};
        json_t *json = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &error);
        if (!json) {
                char shown[100];
                str_printable(shown, sizeof(shown), error.text, strlen(error.text));
                snprintf(why, 256, "it is not JSON (%s)", shown);
                return NULL;
        }
        const char *wrong = plugin_result_check(json);
        if (wrong) {
                snprintf(why, 256, "%s", wrong);
                json_decref(json);
                return NULL;
        }
        return json;
}

static bool plugin_interface_is_pods(const json_t *json, const json_t *ip)
{
        const json_t *index = json_object_get(ip, "interface");
        if (!index)
                return true;
        const json_t *interface = json_array_get(json_object_get(json, "interfaces"), (size_t)json_integer_value(index));
        return !str_is_empty(json_string_value(json_object_get(interface, "sandbox")));
}

static char *plugin_string_copy(const json_t *value)
{
        const char *text = json_string_value(value);
        return strdup(text ? text : "");
}

static int plugin_result_fill_ips(const json_t *json, Bulkhead__Cni__CniResult *result)
{
        const json_t *ips = json_object_get(json, "ips");
        result->ips = calloc(json_array_size(ips) + 1, sizeof(*result->ips));
        if (!result->ips)
                return -1;
        for (size_t i = 0; i < json_array_size(ips); i++) {
                char address[INET6_ADDRSTRLEN];
                const json_t *ip = json_array_get(ips, i);
                if (!plugin_interface_is_pods(json, ip) || !plugin_address_parse(json_object_get(ip, "address"), address))
                        continue;
                result->ips[result->n_ips] = strdup(address);
                if (!result->ips[result->n_ips])
                        return -1;
                result->n_ips++;
        }
        return 0;
}

static int plugin_result_fill_interfaces(const json_t *json, Bulkhead__Cni__CniResult *result)
{
        const json_t *interfaces = json_object_get(json, "interfaces");
        result->interfaces = calloc(json_array_size(interfaces) + 1, sizeof(*result->interfaces));
        if (!result->interfaces)
                return -1;
        for (size_t i = 0; i < json_array_size(interfaces); i++) {
                const json_t *from = json_array_get(interfaces, i);
                Bulkhead__Cni__CniInterface *to = calloc(1, sizeof(*to));
                if (!to)
                        return -1;
                bulkhead__cni__cni_interface__init(to);
                result->interfaces[result->n_interfaces++] = to;
                to->name = plugin_string_copy(json_object_get(from, "name"));
                to->mac = plugin_string_copy(json_object_get(from, "mac"));
                to->sandbox = plugin_string_copy(json_object_get(from, "sandbox"));
                if (!to->name || !to->mac || !to->sandbox)
                        return -1;
        }
        return 0;
}

static int plugin_result_fill_servers(const json_t *json, Bulkhead__Cni__CniResult *result)
{
        const json_t *servers = json_object_get(json_object_get(json, "dns"), "nameservers");
        result->dns_servers = calloc(json_array_size(servers) + 1, sizeof(*result->dns_servers));
        if (!result->dns_servers)
                return -1;
        for (size_t i = 0; i < json_array_size(servers); i++) {
                result->dns_servers[i] = plugin_string_copy(json_array_get(servers, i));
                if (!result->dns_servers[i])
                        return -1;
                result->n_dns_servers++;
        }
        return 0;
}

int plugin_result_fill(const json_t *json, const char *network_name, Bulkhead__Cni__CniResult *result)
{
        bulkhead__cni__cni_result__init(result);
        result->result_json = json_dumps(json, JSON_COMPACT);
        result->network_name = strdup(network_name);
        if (!result->result_json || !result->network_name || plugin_result_fill_ips(json, result) < 0 ||
            plugin_result_fill_interfaces(json, result) < 0 || plugin_result_fill_servers(json, result) < 0) {
                plugin_result_done(result);
                return -1;
        }
        return 0;
}

/* A string that protobuf-c itself put there is not ours to free. */
static void plugin_result_free(char *text)
{
        if (text != protobuf_c_empty_string)
                free(text);
}

void plugin_result_done(Bulkhead__Cni__CniResult *result)
{
        for (size_t i = 0; i < result->n_ips; i++)
                free(result->ips[i]);
        for (size_t i = 0; i < result->n_interfaces; i++) {
                plugin_result_free(result->interfaces[i]->name);
                plugin_result_free(result->interfaces[i]->mac);
                plugin_result_free(result->interfaces[i]->sandbox);
                free(result->interfaces[i]);
        }
        for (size_t i = 0; i < result->n_dns_servers; i++)
                free(result->dns_servers[i]);
        free(result->ips);
        free(result->interfaces);
        free(result->dns_servers);
        plugin_result_free(result->result_json);
        plugin_result_free(result->network_name);
        bulkhead__cni__cni_result__init(result);
}

void plugin_error_text(const char *output, size_t n_output, const char *errors, char text[400], unsigned *ret_code)
{
        json_t *json = json_loadb(output, n_output, 0, NULL);
        const json_t *message = json_object_get(json, "msg"), *details = json_object_get(json, "details");
        const json_t *code = json_object_get(json, "code");
        char shown[200] = "", more[160] = "";

        *ret_code = 0;
        if (json_is_string(message)) {
                str_printable(shown, sizeof(shown), json_string_value(message), json_string_length(message));
                if (json_is_string(details) && json_string_length(details) > 0)
                        str_printable(more, sizeof(more), json_string_value(details), json_string_length(details));
                if (json_is_integer(code) && json_integer_value(code) > 0 && json_integer_value(code) <= 9999)
                        *ret_code = (unsigned)json_integer_value(code);
                snprintf(text, 400, "%s%s%s%s", shown, more[0] ? " (" : "", more, more[0] ? ")" : "");
        } else {
                const char *said = str_is_empty(errors) ? output : errors;
                size_t n = str_is_empty(errors) ? n_output : strlen(errors);
                str_printable(shown, sizeof(shown), said, MIN2(n, sizeof(shown)));
                snprintf(text, 400, n > 0 ? "it printed no CNI error but: %s" : "it printed no CNI error%s", shown);
        }
        json_decref(json);
}
