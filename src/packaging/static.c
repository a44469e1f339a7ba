/* Linked into the static binary only, by build-static.
 *
 * glibc loads whatever /etc/nsswitch.conf names for the look-up of hosts, such as libnss_resolve or libnss_mdns4_minimal.
 * A static program cannot load those of another version of glibc: it dies of SIGFPE at the first name. What is built into
 * it is enough: /etc/hosts, and the servers in /etc/resolv.conf. */

#include <nss.h>

__attribute__((constructor)) static void look_hosts_up_in_files_and_dns(void)
{
    __nss_configure_lookup("hosts", "files dns");
}
