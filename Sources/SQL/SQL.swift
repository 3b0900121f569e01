internal import CSQLite
internal import CPostgres
